import type { Element } from '@xmldom/xmldom';
import { invalid, type SignpipeError } from '../../../lib/errors.ts';
import { isBlank } from '../../../lib/xml/plain-xml.ts';
import { childElements } from '../../../lib/xml/parse-xml.ts';
import { DSIG } from './names.ts';

/*
 * Reading of signatures that leaves nothing over: an element has only known children and attributes, each at the place where
 * the standard has it, so that nothing can be wrapped around or put beside what was signed.
 */

export const badSignature = (what: string, why: string): SignpipeError =>
  invalid('opc-signature', `${what}: ${why}`);

/** The child elements, all with one of these names in a namespace, and in their order; no text but blanks. */
export function childrenIn(
  parent: Element,
  names: readonly string[],
  what: string,
  namespace = DSIG,
): Element[] {
  const children = childElements(parent);
  let last = 0;
  for (const each of children) {
    const at = names.indexOf(each.localName ?? '');
    if (each.namespaceURI !== namespace || at < last)
      throw badSignature(
        what,
        `${each.tagName.slice(0, 60)} is not expected in ${parent.tagName.slice(0, 60)}`,
      );
    last = at;
  }
  for (let node = parent.firstChild; node; node = node.nextSibling)
    if (
      node.nodeType !== node.ELEMENT_NODE &&
      (node.nodeType !== node.TEXT_NODE || !isBlank(node.nodeValue ?? ''))
    )
      throw badSignature(what, `${parent.tagName.slice(0, 60)} holds something else than elements`);
  return children;
}

/** The one element with a name; throws `opc-signature` if there is none, or another. */
export function only(elements: readonly Element[], name: string, what: string): Element {
  const [one, another] = elements.filter(({ localName }) => localName === name);
  if (one && !another) return one;
  throw badSignature(what, `it does not have exactly one ${name} where one belongs`);
}

/** The attributes by name, all of them among these, apart from declarations of namespaces. */
export function attributesIn(
  element: Element,
  names: readonly string[],
  what: string,
): Partial<Record<string, string>> {
  const found = [...element.attributes].filter(
    ({ namespaceURI }) => namespaceURI !== 'http://www.w3.org/2000/xmlns/',
  );
  const other = found.find(({ name }) => !names.includes(name));
  if (other)
    throw badSignature(what, `${element.tagName.slice(0, 60)} has the attribute ${other.name.slice(0, 60)}`);
  return Object.fromEntries(found.map(({ name, value }) => [name, value]));
}

/** The text of an element without children. */
export function textOf(element: Element, what: string): string {
  for (let node = element.firstChild; node; node = node.nextSibling)
    if (node.nodeType !== node.TEXT_NODE)
      throw badSignature(what, `${element.tagName.slice(0, 60)} holds something else than text`);
  return element.textContent ?? '';
}

/** The bytes in an element, whose base64 may be broken into lines. */
export function readBase64(element: Element, what: string): Buffer {
  const text = textOf(element, what).replace(/[\t\n\r ]/g, '');
  const bytes = Buffer.from(text, 'base64');
  if (bytes.length === 0 || bytes.toString('base64') !== text)
    throw badSignature(what, `${element.tagName.slice(0, 60)} does not hold base64`);
  return bytes;
}

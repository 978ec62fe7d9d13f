import type { Element } from '@xmldom/xmldom';
import { childElements } from './parse-xml.ts';

/** The declaration at the beginning, as programs write it. */
const START =
  /^\uFEFF?(?:<\?xml version="1\.0" encoding="(?:utf-8|UTF-8)"(?: standalone="(?:yes|no)")? ?\?>)?/;

/** Text, or a tag with one blank between attributes, whose values are in quotation marks. */
const TOKEN = /[^<>]+|<\/[\w:.-]+>|<[\w:.-]+(?: [\w:.-]+="[^"<>]*")* ?\/?>/y;

/** A reference to a character that could stand for itself. */
const REFERENCE = /&(?!(?:amp|lt|gt|quot|apos);)/;

/**
 * Whether a document, which `parseXml` has read and so bounded, has only one form for what it says, apart from the order of
 * attributes, namespaces and blanks between elements: no comments, processing instructions, CDATA sections or references to
 * characters that could stand for themselves, and no more blanks in its markup than needed. Canonical XML, and readers of documents that no digest covers, do not see the rest: bytes could hide there.
 */
export function isPlainXml(text: string): boolean {
  if (REFERENCE.test(text)) return false;
  TOKEN.lastIndex = START.exec(text)?.[0].length ?? 0;
  while (TOKEN.lastIndex < text.length) if (!TOKEN.test(text)) return false;
  return true;
}

/** Whether a text is white space, as XML has it (1.0 section 2.3): JavaScript's `\s` also matches characters that are none. */
export const isBlank = (text: string): boolean => !/[^\t\n\r ]/.test(text);

/** Whether an element has other text than blanks between its child elements. */
export function holdsText(element: Element): boolean {
  for (let node = element.firstChild; node; node = node.nextSibling)
    if (
      (node.nodeType === node.TEXT_NODE || node.nodeType === node.CDATA_SECTION_NODE) &&
      !isBlank(node.nodeValue ?? '')
    )
      return true;
  return false;
}

const XMLNS = 'http://www.w3.org/2000/xmlns/';

/** At most a line end, and what indents the next line. */
const GAP = /^\r?\n?[\t ]{0,32}$/;

/** Whether a text has no blanks but line ends, which divide it into lines of one length, the last one perhaps shorter. */
function isInLines(text: string): boolean {
  const lines = text.trim().split(/\r?\n/);
  const [{ length } = ''] = lines;
  const last = lines.length - 1;
  return (
    lines.every((line, at) => (at === last ? line.length <= length : line.length === length)) &&
    !/[\t\r ]/.test(lines.join('')) &&
    text.length - text.trim().length <= 2
  );
}

/**
 * Whether neither namespaces nor blanks say anything in an element and all that it holds, for what no digest covers: no name
 * has a prefix, a namespace is declared only where it changes, elements follow each other or are indented, and text is in
 * lines of one length. `free` names the elements whose text is compared elsewhere.
 */
export function isPlainElement(element: Element, free: ReadonlySet<string>, outer: string | null): boolean {
  const declared = [...element.attributes].filter(({ namespaceURI }) => namespaceURI === XMLNS);
  const needed = element.namespaceURI === outer ? 0 : 1;
  if (element.prefix || declared.length !== needed || declared.some(({ prefix }) => prefix)) return false;
  const inside = childElements(element);
  if (inside.length === 0) return free.has(element.localName ?? '') || isInLines(element.textContent ?? '');
  for (let node = element.firstChild; node; node = node.nextSibling)
    if (node.nodeType === node.TEXT_NODE && !GAP.test(node.nodeValue ?? '')) return false;
  return inside.every((each) => isPlainElement(each, free, element.namespaceURI));
}

/** Blanks behind the last element of a document: at most one line end. */
export const endsPlainly = (text: string): boolean => !/[\t\n\r ]{3}$|[\t ]$|\n\n$/.test(text);

/** Whether an element has attributes besides declarations of namespaces. */
export const hasAttributes = ({ attributes }: Element): boolean =>
  [...attributes].some(({ namespaceURI }) => namespaceURI !== XMLNS);

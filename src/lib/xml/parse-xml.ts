import { DOMParser, type Document, type Element } from '@xmldom/xmldom';
import { invalid, messageOf, type SignpipeError } from '../errors.ts';
import { scanTags } from './scan-tags.ts';

/** Largest document that is parsed, in bytes: a tree takes about thirty times its text. */
const LARGEST = 16 * 1024 * 1024;
/** Deepest nesting of elements. The documents of packages have fewer than ten levels. */
const DEEPEST = 64;
/** Most attributes of an element, namespaces included: the parser compares each with each. */
const MOST_ATTRIBUTES = 256;

/** Anything but a Char (XML 1.0 section 2.2). */
const NO_CHARACTER = /[^\t\n\r\u{20}-\u{D7FF}\u{E000}-\u{FFFD}\u{10000}-\u{10FFFF}]/u;

/** References to characters by their number (XML 1.0 section 4.1), which the parser does not check. */
const REFERENCES = /&#(?:\d+|x[\dA-Fa-f]+);/g;

function isCharacter(reference: string): boolean {
  const number = reference.slice(2, -1);
  const code = number.startsWith('x') ? Number.parseInt(number.slice(1), 16) : Number.parseInt(number, 10);
  return code <= 0x10ffff && !NO_CHARACTER.test(String.fromCodePoint(code));
}

const malformed = (what: string, why: string, cause?: unknown): SignpipeError =>
  invalid('xml-malformed', `${what}: not well-formed XML that can be read in one way only: ${why}`, {
    cause,
  });

/**
 * Parses a document in UTF-8, with or without a byte order mark. Refuses what readers treat differently, or what makes them
 * fetch or repeat text: other encodings, document types (DTD) and with them entities. Throws `xml-malformed` and
 * `xml-too-large`.
 */
export function parseXml(bytes: Buffer, what: string): Document {
  const text = xmlText(bytes, what);
  if (text.includes('<!DOCTYPE')) throw malformed(what, 'it has a document type');
  const attributes = boundedAttributes(text, what);
  let document: Document;
  try {
    document = new DOMParser({
      locator: false,
      // The parser's own is that of XML 1.1, which makes line ends of U+0085 and U+2028.
      normalizeLineEndings: (input) => input.replaceAll(/\r\n?/g, '\n'),
      onError: (_level, message) => {
        throw new Error(message);
      },
    }).parseFromString(text, 'text/xml');
  } catch (error) {
    const [first = ''] = messageOf(error).split('\n');
    throw malformed(what, first, error);
  }
  // The parser keeps the second of two attributes of one name through two prefixes (Namespaces in XML, section 6.3).
  if (countAttributes(document) !== attributes) throw malformed(what, 'an element has an attribute twice');
  return document;
}

/**
 * How many attributes the elements have, before the document is parsed: refuses what would take the parser time that grows
 * with the square of its size, and what it lets pass.
 */
function boundedAttributes(text: string, what: string): number {
  let [depth, attributes] = [0, 0];
  for (const { kind, values } of scanTags(text)) {
    if (kind === 'broken') throw malformed(what, 'a tag or a comment in it does not end');
    if (kind === 'start') depth += 1;
    if (kind === 'end') depth -= 1;
    if (depth > DEEPEST) throw malformed(what, `its elements are nested more than ${DEEPEST} deep`);
    if (depth < 0) throw malformed(what, 'an element ends that did not begin');
    if (values > MOST_ATTRIBUTES)
      throw malformed(what, `an element has more than ${MOST_ATTRIBUTES} attributes`);
    attributes += values;
  }
  return attributes;
}

function countAttributes(document: Document): number {
  let count = 0;
  for (let level = childElements(document); level.length > 0; level = level.flatMap(childElements))
    for (const each of level) count += each.attributes.length;
  return count;
}

/** The text of a document, without its byte order mark. */
export function xmlText(bytes: Buffer, what: string): string {
  if (bytes.length > LARGEST)
    throw invalid('xml-too-large', `${what}: ${bytes.length} bytes of XML, ${LARGEST} allowed`);
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw malformed(what, 'it is not UTF-8', error);
  }
  if (NO_CHARACTER.test(text)) throw malformed(what, 'it holds control characters');
  const wrong = text.match(REFERENCES)?.find((each) => !isCharacter(each));
  if (wrong !== undefined)
    throw malformed(what, `it refers to a character that is none: ${wrong.slice(0, 20)}`);
  const encoding = /^<\?xml[^>]*\bencoding\s*=\s*["']([^"']*)["']/.exec(text)?.[1];
  if (encoding !== undefined && encoding.toLowerCase() !== 'utf-8')
    throw malformed(what, `it says that its encoding is ${encoding.slice(0, 40)}`);
  return text;
}

/** The elements that are direct children of a node, in order. */
export function childElements(parent: Document | Element): Element[] {
  const children: Element[] = [];
  for (let node = parent.firstChild; node; node = node.nextSibling)
    if (node.nodeType === node.ELEMENT_NODE) children.push(node as Element);
  return children;
}

/** Text as the value of an attribute in quotation marks. */
export const attributeText = (text: string): string =>
  text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replace(/[\t\n\r]/g, (each) => `&#x${each.charCodeAt(0).toString(16).toUpperCase()};`);

import type { Element } from '@xmldom/xmldom';

/** The declaration at the beginning, as programs write it. */
const START =
  /^\uFEFF?(?:<\?xml version="1\.0" encoding="(?:utf-8|UTF-8)"(?: standalone="(?:yes|no)")? ?\?>)?/;

/** Text, or a tag with one blank between attributes, whose values are in quotation marks. */
const TOKEN = /[^<>]+|<\/[\w:.-]+>|<[\w:.-]+(?: [\w:.-]+="[^"<>]*")* ?\/?>/y;

/**
 * Whether a document, which `parseXml` has read and so bounded, has only one form for what it says, apart from the order of
 * attributes and blanks between elements: no comments, processing instructions or CDATA sections, and no more blanks in its
 * markup than needed. Canonical XML, and readers of documents that no digest covers, do not see the rest: bytes could hide there.
 */
export function isPlainXml(text: string): boolean {
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

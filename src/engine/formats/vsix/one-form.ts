import { parseXml, xmlText } from '../../../lib/xml/parse-xml.ts';
import { endsPlainly, isPlainElement, isPlainXml } from '../../../lib/xml/plain-xml.ts';

/** Whether a document could not be written in another way, so that bytes that no digest covers can hold nothing. */
export function hasOneForm(bytes: Buffer, what: string): boolean {
  const text = xmlText(bytes, what);
  const root = parseXml(bytes, what).documentElement;
  return isPlainXml(text) && endsPlainly(text) && !!root && isPlainElement(root, new Set(), null);
}

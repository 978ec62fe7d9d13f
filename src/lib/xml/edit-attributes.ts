import { attributeText, parseXml, xmlText } from './parse-xml.ts';
import { scanTags } from './scan-tags.ts';

/** An attribute and its value with quotation marks. */
const ATTRIBUTE = /(\s)([^\s"'<>/=]+)(\s*=\s*)(?:"[^"]*"|'[^']*')/g;

/**
 * Gives attributes of elements new values; all other bytes stay as they are. `edit` is called for each element with this
 * local name, in the order of the document, with its attributes, and returns the new values of some that it has.
 * Throws what `parseXml` throws.
 */
export function editAttributes(
  xml: Buffer,
  localName: string,
  edit: (attributes: ReadonlyMap<string, string>) => ReadonlyMap<string, string>,
  what: string,
): Buffer {
  const elements = parseXml(xml, what).getElementsByTagNameNS('*', localName);
  const edits = Array.from(elements, ({ attributes }) =>
    edit(new Map(Array.from(attributes, ({ name, value }) => [name, value]))),
  );
  const text = xmlText(xml, what);
  const parts: string[] = [];
  let [index, done] = [0, 0];
  for (const { kind, name, start, end } of scanTags(text)) {
    if (kind === 'end' || localPart(name) !== localName) continue;
    parts.push(text.slice(done, start), withValues(text.slice(start, end), edits[index] ?? new Map()));
    [index, done] = [index + 1, end];
  }
  parts.push(text.slice(done));
  const mark = xml.subarray(0, BYTE_ORDER_MARK.length).equals(BYTE_ORDER_MARK)
    ? BYTE_ORDER_MARK
    : Buffer.alloc(0);
  return Buffer.concat([mark, Buffer.from(parts.join(''))]);
}

const localPart = (name: string): string => name.slice(name.indexOf(':') + 1);

const BYTE_ORDER_MARK = Buffer.from('efbbbf', 'hex');

const withValues = (tag: string, values: ReadonlyMap<string, string>): string =>
  tag.replaceAll(ATTRIBUTE, (attribute: string, space: string, name: string, equals: string) => {
    const value = values.get(name);
    return value === undefined ? attribute : `${space}${name}${equals}"${attributeText(value)}"`;
  });

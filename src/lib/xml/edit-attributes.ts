import { invalid } from '../errors.ts';
import { attributeText, parseXml, xmlText } from './parse-xml.ts';

/** Comments, CDATA sections, processing instructions, and tags, of which the name is a group. */
const MARKUP =
  /<!--[^]*?-->|<!\[CDATA\[[^]*?\]\]>|<\?[^]*?\?>|<(?:[^\s"'<>/:]+:)?([^\s"'<>/:]+)(?:[^"'<>]|"[^"]*"|'[^']*')*>/g;

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
  let index = 0;
  const text = xmlText(xml, what).replaceAll(MARKUP, (markup, name?: string) => {
    if (name !== localName) return markup;
    const values = edits[index] ?? new Map<string, string>();
    index += 1;
    return withValues(markup, values);
  });
  if (index !== edits.length) throw invalid('xml-malformed', `${what}: its <${localName}> cannot be found`);
  const mark = xml.subarray(0, BYTE_ORDER_MARK.length).equals(BYTE_ORDER_MARK)
    ? BYTE_ORDER_MARK
    : Buffer.alloc(0);
  return Buffer.concat([mark, Buffer.from(text)]);
}

const BYTE_ORDER_MARK = Buffer.from('efbbbf', 'hex');

const withValues = (tag: string, values: ReadonlyMap<string, string>): string =>
  tag.replaceAll(ATTRIBUTE, (attribute: string, space: string, name: string, equals: string) => {
    const value = values.get(name);
    return value === undefined ? attribute : `${space}${name}${equals}"${attributeText(value)}"`;
  });

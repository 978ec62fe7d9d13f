import { childElements, attributeText, parseXml } from '../xml/parse-xml.ts';
import { hasAttributes, holdsText } from '../xml/plain-xml.ts';
import { invalid, type SignpipeError } from '../errors.ts';

/** The stream of a package that says of which type its parts are (Open Packaging Conventions, ECMA-376 part 2, 10.1.2). */
export const CONTENT_TYPES = '[Content_Types].xml';

const NAMESPACE = 'http://schemas.openxmlformats.org/package/2006/content-types';

/** By the extension of parts, or for one part by its name. */
export interface ContentType {
  readonly kind: 'Default' | 'Override';
  /** The extension, or the name of the part. */
  readonly key: string;
  readonly type: string;
}

const malformed = (what: string, why: string): SignpipeError =>
  invalid('opc-content-types', `${what}: ${CONTENT_TYPES}: ${why}`);

const folded = (key: string): string => key.toLowerCase();

/** The types of a package in their order; throws `opc-content-types`, and what `parseXml` does. */
export function readContentTypes(bytes: Buffer, what: string): ContentType[] {
  const root = parseXml(bytes, `${what}: ${CONTENT_TYPES}`).documentElement;
  if (!root || root.localName !== 'Types' || root.namespaceURI !== NAMESPACE)
    throw malformed(what, 'it does not hold Types');
  if (holdsText(root)) throw malformed(what, 'it holds text');
  if (hasAttributes(root)) throw malformed(what, 'its root has an attribute');
  const types = childElements(root).map((each): ContentType => {
    const kind = each.localName;
    if (each.namespaceURI !== NAMESPACE || (kind !== 'Default' && kind !== 'Override'))
      throw malformed(what, `it holds ${each.tagName}`);
    const key = each.getAttribute(kind === 'Default' ? 'Extension' : 'PartName');
    const type = each.getAttribute('ContentType');
    if (!key || !type || each.attributes.length !== 2 || each.firstChild)
      throw malformed(what, `a ${kind} without its two attributes, or with more`);
    return { kind, key, type };
  });
  if (new Set(types.map(({ kind, key }) => lookupKey(kind, key))).size !== types.length)
    throw malformed(what, 'it has a type twice');
  return types;
}

const lookups = new WeakMap<readonly ContentType[], ReadonlyMap<string, ContentType>>();

const lookupKey = (kind: ContentType['kind'], key: string): string => `${kind} ${folded(key)}`;

/** Which of the types applies to a part, by its name with `/` before it; undefined if none does. */
export function contentTypeOf(types: readonly ContentType[], part: string): ContentType | undefined {
  const lookup =
    lookups.get(types) ?? new Map(types.map((each) => [lookupKey(each.kind, each.key), each] as const));
  lookups.set(types, lookup);
  const extension = /\.([^./]*)$/.exec(part)?.[1];
  return (
    lookup.get(lookupKey('Override', part)) ??
    (extension === undefined ? undefined : lookup.get(lookupKey('Default', extension)))
  );
}

/** The document as System.IO.Packaging writes it. */
export function writeContentTypes(types: readonly ContentType[]): Buffer {
  const lines = types.map(({ kind, key, type }) => {
    const name = kind === 'Default' ? 'Extension' : 'PartName';
    return `<${kind} ${name}="${attributeText(key)}" ContentType="${attributeText(type)}" />`;
  });
  return Buffer.from(
    `\uFEFF<?xml version="1.0" encoding="utf-8"?><Types xmlns="${NAMESPACE}">${lines.join('')}</Types>`,
  );
}

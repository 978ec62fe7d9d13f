import { childElements, attributeText, parseXml } from '../xml/parse-xml.ts';
import { hasAttributes, holdsText } from '../xml/plain-xml.ts';
import { invalid, type SignpipeError } from '../errors.ts';

const NAMESPACE = 'http://schemas.openxmlformats.org/package/2006/relationships';

/** The content type of parts that hold relationships. */
export const RELATIONSHIPS_TYPE = 'application/vnd.openxmlformats-package.relationships+xml';

/** A relationship of a package or of a part (Open Packaging Conventions, ECMA-376 part 2, 9.3). */
export interface Relationship {
  readonly type: string;
  readonly target: string;
  readonly id: string;
  /** `External` if the target is not in the package. */
  readonly mode: string | null;
}

const ATTRIBUTES: ReadonlySet<string> = new Set(['Type', 'Target', 'Id', 'TargetMode']);

const malformed = (what: string, why: string): SignpipeError =>
  invalid('opc-relationships', `${what}: ${why}`);

/** The relationships in their order; throws `opc-relationships`, and what `parseXml` does. */
export function readRelationships(bytes: Buffer, what: string): Relationship[] {
  const root = parseXml(bytes, what).documentElement;
  if (!root || root.localName !== 'Relationships' || root.namespaceURI !== NAMESPACE)
    throw malformed(what, 'it does not hold Relationships');
  if (holdsText(root)) throw malformed(what, 'it holds text');
  if (hasAttributes(root)) throw malformed(what, 'its root has an attribute');
  const all = childElements(root).map((each): Relationship => {
    if (each.namespaceURI !== NAMESPACE || each.localName !== 'Relationship')
      throw malformed(what, `it holds ${each.tagName}`);
    const [type, target, id] = ['Type', 'Target', 'Id'].map((name) => each.getAttribute(name));
    const known = [...each.attributes].every(({ name }) => ATTRIBUTES.has(name));
    if (!type || !target || !id || !known || each.firstChild)
      throw malformed(what, 'a relationship lacks an attribute, or has others');
    return { type, target, id, mode: each.getAttribute('TargetMode') };
  });
  if (new Set(all.map(({ id }) => id)).size !== all.length) throw malformed(what, 'an id occurs twice');
  return all;
}

/** The part that holds the relationships of a part; of the package if the name is empty. */
export function relationshipsOf(part: string): string {
  const slash = part.lastIndexOf('/');
  return `${part.slice(0, slash + 1) || '/'}_rels/${part.slice(slash + 1)}.rels`;
}

/** Whether a part holds relationships. */
export const isRelationships = (part: string): boolean => /(?:^|\/)_rels\/[^/]*\.rels$/i.test(part);

/** The document as System.IO.Packaging writes it. */
export function writeRelationships(all: readonly Relationship[]): Buffer {
  const lines = all.map(
    ({ type, target, id, mode }) =>
      `<Relationship Type="${attributeText(type)}"${mode === 'External' ? ' TargetMode="External"' : ''} Target="${attributeText(target)}" Id="${attributeText(id)}" />`,
  );
  return Buffer.from(
    `\uFEFF<?xml version="1.0" encoding="utf-8"?><Relationships xmlns="${NAMESPACE}">${lines.join('')}</Relationships>`,
  );
}

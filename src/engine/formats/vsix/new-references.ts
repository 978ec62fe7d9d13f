import { createHash } from 'node:crypto';
import { invalid } from '../../../lib/errors.ts';
import { isRelationships, RELATIONSHIPS_TYPE } from '../../../lib/opc/relationships.ts';
import { canonicalXml } from '../../../lib/xml/canonical-xml.ts';
import { parseXml } from '../../../lib/xml/parse-xml.ts';
import type { XmlDigest } from './algorithms.ts';
import type { Reference } from './manifest.ts';
import { ORIGIN_TYPE } from './names.ts';
import { hasOneForm } from './one-form.ts';
import type { AddedParts } from './signature-parts.ts';
import { readXml, ROOT_RELATIONSHIPS, type Part, type VsixPackage } from './vsix-package.ts';

/**
 * What a new signature refers to: all parts sorted by name in capitals, as the package lists them in .NET, then the parts
 * that signing adds, and the relationships of the package once more, as psign's script for System.IO.Packaging has it.
 * `digests` are those of the parts with content. Throws `vsix-form`.
 */
export async function newReferences(
  content: VsixPackage,
  added: AddedParts,
  digests: ReadonlyMap<Part, Buffer>,
  hash: XmlDigest,
): Promise<Reference[]> {
  const root = toRelationships(ROOT_RELATIONSHIPS, added.relationships, hash);
  const listed: Reference[] = [root];
  for (const [{ name, type }, digest] of digests)
    listed.push({ part: name, type, canonical: false, hash, digest });
  for (const part of otherRelationships(content))
    listed.push(toRelationships(part.name, await readRelationships(content, part), hash));
  const list = `${added.origin.replace(/[^/]*$/, '')}_rels/origin.psdsor.rels`;
  return [
    ...listed.sort((one, other) => compareNames(one.part, other.part)),
    toRelationships(list, added.originRelationships, hash),
    toOrigin(added.origin, hash),
    root,
  ];
}

function toRelationships(part: string, bytes: Buffer, hash: XmlDigest): Reference {
  const digest = createHash(hash)
    .update(canonicalXml(parseXml(bytes, part)))
    .digest();
  return { part, type: RELATIONSHIPS_TYPE, canonical: true, hash, digest };
}

/** The origin is empty. */
const toOrigin = (part: string, hash: XmlDigest): Reference => ({
  part,
  type: ORIGIN_TYPE,
  canonical: false,
  hash,
  digest: createHash(hash).digest(),
});

/** Parts with relationships that signing leaves alone. */
const otherRelationships = ({ parts, signed }: VsixPackage): Part[] =>
  parts.filter(
    (each) =>
      isRelationships(each.name) && each.name !== ROOT_RELATIONSHIPS && each !== signed?.originRelationships,
  );

async function readRelationships({ archive }: VsixPackage, { name, entry }: Part): Promise<Buffer> {
  const bytes = await readXml(archive, entry);
  if (hasOneForm(bytes, name)) return bytes;
  throw invalid('vsix-form', `${archive.source.name}: ${name} holds what no signature would cover`, {
    hint: 'write these relationships without comments, prefixes and superfluous blanks, and pack the extension again',
  });
}

/** As .NET sorts parts: in capitals, by UTF-16 units; names are ASCII. */
function compareNames(one: string, other: string): number {
  const [first, second] = [one.toUpperCase(), other.toUpperCase()];
  return first < second ? -1 : first > second ? 1 : 0;
}

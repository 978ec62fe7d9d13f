import { createHash } from 'node:crypto';
import { deflateRawSync } from 'node:zlib';
import { BufferSource } from '../../../lib/bytes/byte-source.ts';
import { invalid } from '../../../lib/errors.ts';
import {
  CONTENT_TYPES,
  contentTypeOf,
  writeContentTypes,
  type ContentType,
} from '../../../lib/opc/content-types.ts';
import { RELATIONSHIPS_TYPE, relationshipsOf, writeRelationships } from '../../../lib/opc/relationships.ts';
import { dosTimeOf, type DosTime, type NewEntry } from '../../../lib/zip/edit-entries.ts';
import { DEFAULT_LIMITS } from '../../../lib/zip/limits.ts';
import type { ArchiveEntry } from '../../../lib/zip/local-headers.ts';
import { readArchive, type Archive } from '../../../lib/zip/read-zip.ts';
import { readWithoutFile } from '../../authenticode/signature-without-file.ts';
import type { SignatureWithoutFile } from '../signable-file.ts';
import { respelled, unusedTypes } from './entry-findings.ts';
import { ORIGIN, ORIGIN_TYPE, SIGNATURE, SIGNATURE_TYPE } from './names.ts';
import { opcScheme } from './opc-scheme.ts';
import { readContent } from './signed-content.ts';
import { readXml, ROOT_RELATIONSHIPS, type VsixPackage } from './vsix-package.ts';

/** What distinguishes one run of signing from another, and is no time. */
export interface SignatureNames {
  /** The name of the part that holds the signature, without folder and extension: 32 hex digits. */
  readonly part: string;
  /** The ids of the relationships to the origin, and from it to the signature. */
  readonly originId: string;
  readonly signatureId: string;
}

/** Names that are random in .NET; here made of the package's digest, so that signing again gives the same. */
export function namesFor(digest: Buffer): SignatureNames {
  const hex = createHash('sha256').update('signature of a package').update(digest).digest('hex');
  return { part: hex.slice(0, 32), originId: `R${hex.slice(32, 48)}`, signatureId: `R${hex.slice(48, 64)}` };
}

const FOLDER = '/package/services/digital-signature';

/** The parts that signing writes, except for the signature itself. */
export interface AddedParts {
  readonly relationships: Buffer;
  readonly origin: string;
  readonly originRelationships: Buffer;
  /** The name of the part with the signature. */
  readonly signature: string;
  readonly types: readonly ContentType[];
}

/** The parts as System.IO.Packaging writes them; content types that no part has are left out. */
export function addedParts(
  { relationships, types, parts, signed }: VsixPackage,
  { part, originId, signatureId }: SignatureNames,
): AddedParts {
  const origin = `${FOLDER}/origin.psdsor`;
  const signature = `${FOLDER}/xml-signature/${part}.psdsxs`;
  const list = relationshipsOf(origin);
  const others = relationships.filter(({ type }) => type !== ORIGIN);
  const taken = new Set(others.map(({ id }) => id));
  if (taken.has(originId))
    throw invalid('vsix-signature-parts', `a relationship has the id ${originId} already`);
  const old = signed ? [signed.origin, signed.originRelationships, signed.signature] : [];
  const kept = parts.filter((each) => !old.includes(each)).map(({ name }) => ({ name }));
  const added: [string, string][] = [
    [ROOT_RELATIONSHIPS, RELATIONSHIPS_TYPE],
    [origin, ORIGIN_TYPE],
    [list, RELATIONSHIPS_TYPE],
    [signature, SIGNATURE_TYPE],
  ];
  requireFree(
    kept.map(({ name }) => name),
    added.map(([name]) => name),
  );
  const all = [...kept, ...added.map(([name]) => ({ name }))];
  const unused = new Set(unusedTypes(types, all));
  return {
    relationships: writeRelationships([
      ...others,
      { type: ORIGIN, target: origin, id: originId, mode: null },
    ]),
    origin,
    originRelationships: writeRelationships([
      { type: SIGNATURE, target: signature, id: signatureId, mode: null },
    ]),
    signature,
    types: added.reduce(
      withType,
      respelled(
        types.filter((each) => !unused.has(each)),
        all,
      ),
    ),
  };
}

/** Names of parts differ in more than case (ECMA-376 part 2, 9.1.1.1.2); the relationships of a package are replaced. */
function requireFree(kept: readonly string[], added: readonly string[]): void {
  const names = new Set(added.map((name) => name.toLowerCase()));
  const taken = kept.find((name) => name !== ROOT_RELATIONSHIPS && names.has(name.toLowerCase()));
  if (taken !== undefined)
    throw invalid('vsix-signature-parts', `the package has a part ${taken}, where its signature belongs`, {
      hint: 'pack the extension again without this part, or with its usual name',
    });
}

function withType(
  types: readonly ContentType[],
  [name, type]: readonly [string, string],
): readonly ContentType[] {
  const known = contentTypeOf(types, name);
  if (known?.type === type) return types;
  const key = /[^.]*$/.exec(name)?.[0] ?? '';
  return [...types, known ? { kind: 'Override', key: name, type } : { kind: 'Default', key, type }];
}

/** An entry that is compressed. */
export const deflated = (name: string, content: Buffer, at: DosTime): NewEntry => ({
  name,
  content,
  deflated: deflateRawSync(content),
  at,
});

/** The entries that replace and follow those of the unsigned package, in this order. */
export function addedEntries(
  { contentTypes, parts }: VsixPackage,
  { relationships, origin, originRelationships, signature, types }: AddedParts,
  document: Buffer,
  at: DosTime,
): NewEntry[] {
  const root = parts.find(({ name }) => name === ROOT_RELATIONSHIPS)?.entry ?? contentTypes;
  const stored = (part: string, content: Buffer): NewEntry => ({ name: part.slice(1), content, at });
  return [
    deflated(ROOT_RELATIONSHIPS.slice(1), relationships, dosTimeOf(root)),
    stored(origin, Buffer.alloc(0)),
    stored(relationshipsOf(origin), originRelationships),
    stored(signature, document),
    deflated(CONTENT_TYPES, writeContentTypes(types), at),
  ];
}

/** Opens the parts that were kept, a zip; throws `vsix-signature-parts` unless they are the five that signing writes. */
export async function readKept(
  kept: Buffer,
  what: string,
): Promise<{ archive: Archive; signature: ArchiveEntry }> {
  const archive = await readArchive(new BufferSource(kept, what), DEFAULT_LIMITS);
  const named = (pattern: RegExp): ArchiveEntry[] => archive.entries.filter(({ path }) => pattern.test(path));
  const [root] = named(/^_rels\/\.rels$/);
  const [types] = named(/^\[Content_Types\]\.xml$/);
  const [signature, another] = named(/\.psdsxs$/i);
  const [list, origin] = [named(/.\/_rels\/[^/]+\.rels$/), named(/\.psds?or$/i)];
  if (
    signature &&
    root &&
    types &&
    !another &&
    list.length === 1 &&
    origin.length === 1 &&
    archive.entries.length === 5
  )
    return { archive, signature };
  throw invalid('vsix-signature-parts', `${what}: it does not hold the five parts of a signature`);
}

/** Reads the signature among the parts that were kept, without the package. */
export async function readDetached(kept: Buffer, what: string): Promise<SignatureWithoutFile[]> {
  const { archive, signature } = await readKept(kept, what);
  const document = await readXml(archive, signature);
  return readWithoutFile(document, what, {
    scheme: opcScheme,
    readContent: (content) => readContent(content, what),
  });
}

import { OID } from '../../lib/asn1/oids.ts';
import { invalid } from '../../lib/errors.ts';
import type { IndirectData } from '../authenticode/indirect-data.ts';
import { textOf, type CatalogEntry, type NameValue, type TrustList } from '../formats/catalog/trust-list.ts';
import { FILE_PATH } from './make-catalog.ts';
import { folded } from './windows-paths.ts';

/** A file that a catalog lists. */
export interface ListedDigest {
  /** As messages name it. */
  readonly name: string;
  /** `pe:` or `flat:` and the digest in hex, or `empty`: the same digest of the other kind is one of other bytes. */
  readonly digest: string;
}

/** What a catalog expects. */
export interface Expectation {
  /** Files that have to lie at a path, by this path, folded. */
  readonly byPath: ReadonlyMap<string, ListedDigest>;
  /** Files that may lie anywhere, by their digest. */
  readonly anywhere: ReadonlyMap<string, ListedDigest>;
}

/** The digest of a file without content, which has no entry. */
export const EMPTY = 'empty';

const pathsOf = (attributes: readonly NameValue[]): string[] =>
  attributes.filter(({ name }) => folded(name) === folded(FILE_PATH)).map((each) => textOf(each) ?? '');

const nameOf = ({ attributes }: CatalogEntry): string | undefined =>
  attributes
    .map((each) => (folded(each.name) === 'FILE' ? textOf(each) : null))
    .find((name) => name !== null) ?? undefined;

/** The entries with a SHA-256 digest. SHA-1 ones, for old readers, are of the same files. */
function listedIn({ version, entries }: TrustList, name: string): [CatalogEntry, IndirectData][] {
  const listed = entries.flatMap((entry): [CatalogEntry, IndirectData][] =>
    entry.data?.hash === 'sha256' ? [[entry, entry.data]] : [],
  );
  if (listed.length === 0 && entries.length > 0)
    throw invalid(
      'catalog-sha1',
      `${name}: it lists no SHA-256 digests, only ones for which collisions can be made`,
    );
  // Windows looks files up by the identifier.
  if (version === 2 && listed.some(([{ identifier }, { digest }]) => !identifier.equals(digest)))
    throw invalid('catalog-entry-differs', `${name}: it has an entry with two different digests`, {
      hint: 'make the catalog again: what Windows takes for the digest of this file is not known',
    });
  return listed;
}

/** A digest as `ListedDigest` has it. */
export const digestKey = (kind: 'pe' | 'flat', digest: Buffer): string => `${kind}:${digest.toString('hex')}`;

/** Throws `catalog-path-repeated`, `catalog-entry-differs` or `catalog-sha1`. */
export function expectationOf(list: TrustList, catalog: string): Expectation {
  const byPath = new Map<string, ListedDigest>();
  const anywhere = new Map<string, ListedDigest>();
  const add = (path: string, digest: string): void => {
    if ((byPath.get(folded(path))?.digest ?? digest) !== digest)
      throw invalid('catalog-path-repeated', `${catalog}: it lists two files under one path`);
    byPath.set(folded(path), { name: path, digest });
  };
  for (const [entry, { type, digest }] of listedIn(list, catalog)) {
    const key = digestKey(type === OID.spcPeImageData ? 'pe' : 'flat', digest);
    const paths = pathsOf(entry.attributes);
    for (const path of paths) add(path, key);
    const name = nameOf(entry) ?? `a file with SHA-256 ${digest.toString('hex')}`;
    if (paths.length === 0) anywhere.set(key, { name, digest: key });
  }
  for (const path of pathsOf(list.attributes)) add(path, EMPTY);
  return { byPath, anywhere };
}

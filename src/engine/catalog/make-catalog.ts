import { inMemoryIfSmall, withFile } from '../../lib/bytes/byte-source.ts';
import { mapConcurrently } from '../../lib/concurrency/map-concurrently.ts';
import { invalid, usage } from '../../lib/errors.ts';
import { buildList, type ListedFile, type TextAttribute } from '../formats/catalog/build-list.ts';
import { buildUnsignedCatalog } from '../formats/catalog/catalog-file.ts';
import { findFiles, requirePaths, type FoundFile } from './listed-paths.ts';
import { memberDigest } from './member-digest.ts';

export interface CatalogOptions {
  /** Where the catalog will lie: it does not list itself. */
  readonly output: string;
  readonly time: Date;
  /** Texts about the whole catalog, such as `HWID1`. */
  readonly attributes?: readonly TextAttribute[];
  /** Texts about each file, such as `OSAttr`. */
  readonly fileAttributes?: readonly TextAttribute[];
  /** Whether to list SHA-1 digests too, for readers older than Windows 8. */
  readonly sha1?: boolean | undefined;
  readonly onProgress?: (done: number, total: number) => void;
}

export interface NewCatalog {
  /** The catalog without a signature, DER. */
  readonly der: Buffer;
  /** Paths as the catalog has them. */
  readonly paths: readonly string[];
}

/** Files that are read at a time: only for speed, since most of the time of a small one is spent waiting. */
export const AT_ONCE = 8;

/** The attribute with which New-FileCatalog says where a file lies. */
export const FILE_PATH = 'FilePath';

/**
 * Makes a catalog of files, and of all files in folders, as New-FileCatalog does: each has the attribute FilePath, the path
 * below its folder; files without content, which have no digest there, are named as attributes of the catalog. Equal files and an
 * equal time give an equal catalog. Throws `catalog-…`, and what reading the files throws.
 */
export async function makeCatalog(inputs: readonly string[], options: CatalogOptions): Promise<NewCatalog> {
  requireAttributes([...(options.attributes ?? []), ...(options.fileAttributes ?? [])]);
  const found = await findFiles(inputs, options.output);
  requirePaths(found);
  if (found.length === 0) throw invalid('catalog-empty', 'there are no files for a catalog to list');
  let done = 0;
  const members = await mapConcurrently(found, AT_ONCE, async (file) => {
    const member = await listedFile(file, options);
    options.onProgress?.((done += 1), found.length);
    return member;
  });
  const empty = found.filter((_file, index) => members[index] === null);
  const attributes = [...(options.attributes ?? []), ...empty.map(({ path }) => atPath(path))];
  const listed = withoutRepeats(members.filter((member) => member !== null));
  const list = buildList(listed, { attributes, time: options.time });
  return { der: buildUnsignedCatalog(list), paths: found.map(({ path }) => path) };
}

const atPath = (path: string): TextAttribute => ({ name: FILE_PATH, value: path });

/** The entry of one file; null if it has no content. */
const listedFile = (
  { file, path }: FoundFile,
  { fileAttributes = [], sha1 }: CatalogOptions,
): Promise<ListedFile | null> =>
  withFile(file, async (source) => {
    if (source.size === 0) return null;
    const { kind, digest } = await memberDigest(await inMemoryIfSmall(source));
    const sha256 = await digest('sha256');
    const attributes = [...fileAttributes, atPath(path)];
    return { kind, sha256, attributes, ...(sha1 ? { sha1: await digest('sha1') } : {}) };
  });

/** Files with the same digest share an entry, which names each of their paths. */
function withoutRepeats(files: readonly ListedFile[]): ListedFile[] {
  const byDigest = new Map<string, ListedFile & { readonly attributes: TextAttribute[] }>();
  for (const file of files) {
    const key = file.sha256.toString('hex');
    const first = byDigest.get(key);
    if (first) first.attributes.push(...file.attributes.filter(({ name }) => name === FILE_PATH));
    else byDigest.set(key, { ...file, attributes: [...file.attributes] });
  }
  return [...byDigest.values()];
}

const LONGEST_ATTRIBUTE = 1024;

function requireAttributes(attributes: readonly TextAttribute[]): void {
  for (const { name, value } of attributes)
    if (
      name === '' ||
      name === FILE_PATH ||
      name.length + value.length > LONGEST_ATTRIBUTE ||
      /\p{Cc}/u.test(name + value)
    )
      throw usage(
        'catalog-attribute',
        `${JSON.stringify(`${name}=${value}`)}: not an attribute of a catalog`,
        {
          hint: 'write NAME=TEXT; FilePath is written by itself',
        },
      );
}

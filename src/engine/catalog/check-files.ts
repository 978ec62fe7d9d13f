import { inMemoryIfSmall, withFile, type ByteSource } from '../../lib/bytes/byte-source.ts';
import { invalid, isInvalid } from '../../lib/errors.ts';
import { verifySignableFile } from '../authenticode/verify.ts';
import { CatalogFile } from '../formats/catalog/catalog-file.ts';
import { textOf, type CatalogEntry, type NameValue, type TrustList } from '../formats/catalog/trust-list.ts';
import { openSignableFile } from '../formats/recognize.ts';
import { FILE_PATH } from './make-catalog.ts';
import { findFiles, folded, type FoundFile } from './listed-paths.ts';
import { memberDigest } from './member-digest.ts';

/** Something about a file that is not as the catalog says. */
export interface FileFault {
  readonly code: string;
  readonly path: string;
  readonly message: string;
}

export interface FilesReport {
  /** How many files are as the catalog says. */
  readonly good: number;
  readonly faults: readonly FileFault[];
}

/** What a catalog expects: digests in hex, and paths if it gives them. */
interface Expectation {
  /** The digest of each path, folded; empty for a file without content. Null if the catalog gives no paths. */
  readonly byPath: ReadonlyMap<string, { readonly path: string; readonly digest: string }> | null;
  /** A name for each digest, for messages. */
  readonly byDigest: ReadonlyMap<string, string>;
}

/**
 * Compares the files of a folder with those that a catalog lists. With paths (New-FileCatalog, signpipe) each file has to be
 * where the catalog says; without, as in catalogs of drivers, its digest has to be listed somewhere. Whether the catalog's
 * signature is good is not examined here.
 *
 * | code                    | meaning                                                                   |
 * | ----------------------- | ------------------------------------------------------------------------- |
 * | `catalog-file-missing`  | the catalog lists it, the folder lacks it                                 |
 * | `catalog-file-extra`    | the catalog does not list it                                              |
 * | `catalog-file-changed`  | its digest is not the one that the catalog lists for its path             |
 * | `catalog-file-bad`      | a program whose own signature is bad, or holds unauthenticated data       |
 *
 * Throws `catalog-path-repeated` or `catalog-sha1` if the catalog cannot be compared, and `not-a-catalog`.
 */
export async function checkFiles(catalog: ByteSource, folder: string): Promise<FilesReport> {
  const expected = expectationOf(await listIn(catalog), catalog.name);
  const files = await findFiles([folder], catalog.name);
  const seen = new Set<string>();
  const faults: FileFault[] = [];
  for (const file of files) {
    const { key, fault } = await checkFile(file, expected);
    seen.add(key);
    if (fault) faults.push(fault);
  }
  const good = files.length - faults.length;
  return { good, faults: [...faults, ...missing(expected, seen)] };
}

async function listIn(source: ByteSource): Promise<TrustList> {
  const file = await openSignableFile(source);
  if (file instanceof CatalogFile) return file.list;
  throw invalid('not-a-catalog', `${source.name}: not a catalog, so it lists no files`);
}

const pathsOf = (attributes: readonly NameValue[]): string[] =>
  attributes.filter(({ name }) => folded(name) === folded(FILE_PATH)).map((each) => textOf(each) ?? '');

const nameOf = ({ attributes }: CatalogEntry): string | undefined =>
  attributes
    .map((each) => (folded(each.name) === 'file' ? textOf(each) : null))
    .find((name) => name !== null) ?? undefined;

function expectationOf({ entries, attributes }: TrustList, name: string): Expectation {
  const listed = entries.flatMap((entry) =>
    entry.data?.hash === 'sha256' ? [{ entry, digest: entry.data.digest.toString('hex') }] : [],
  );
  if (listed.length === 0 && entries.length > 0)
    throw invalid(
      'catalog-sha1',
      `${name}: it lists no SHA-256 digests, only ones for which collisions can be made`,
    );
  const named = [
    ...listed.flatMap(({ entry, digest }) => pathsOf(entry.attributes).map((path) => ({ path, digest }))),
    ...pathsOf(attributes).map((path) => ({ path, digest: '' })),
  ];
  const byPath = new Map(named.map((each) => [folded(each.path), each]));
  if (byPath.size < named.length)
    throw invalid('catalog-path-repeated', `${name}: it lists two files under one path`);
  const byDigest = new Map(
    listed.map(({ entry, digest }) => [digest, nameOf(entry) ?? `a file with SHA-256 ${digest}`]),
  );
  return { byPath: named.length > 0 ? byPath : null, byDigest };
}

/** The digest or path that accounts for an expectation, and what is wrong with the file, if anything. */
interface Checked {
  readonly key: string;
  readonly fault: FileFault | null;
}

async function checkFile(found: FoundFile, expected: Expectation): Promise<Checked> {
  const { path, special } = found;
  const key = folded(path);
  const extra = (message: string): Checked => ({ key, fault: { code: 'catalog-file-extra', path, message } });
  if (special) return extra('a link, pipe or device');
  const listed = expected.byPath?.get(key);
  if (expected.byPath && !listed) return extra('the catalog does not list it');
  try {
    const { digest, bad } = await digestOf(found.file);
    const place = listed ? key : digest;
    if (bad !== null) return { key: place, fault: { code: 'catalog-file-bad', path, message: bad } };
    if (!listed && !expected.byDigest.has(digest))
      return extra(`the catalog does not list its SHA-256 ${digest}`);
    return {
      key: place,
      fault: listed && listed.digest !== digest ? changed(path, listed.digest, digest) : null,
    };
  } catch (error) {
    if (!isInvalid(error)) throw error;
    return { key, fault: { code: error.code, path, message: error.message } };
  }
}

const changed = (path: string, listed: string, digest: string): FileFault => ({
  code: 'catalog-file-changed',
  path,
  message:
    listed === ''
      ? 'it has content, and the catalog says that it has none'
      : `its SHA-256 is ${digest === '' ? 'that of nothing' : digest}, the catalog lists ${listed}`,
});

/**
 * The digest of a file in hex, empty if it has no content. The digest of a program leaves out its signatures, so these are
 * verified: nothing may hide in them.
 */
const digestOf = (file: string): Promise<{ readonly digest: string; readonly bad: string | null }> =>
  withFile(file, async (opened) => {
    if (opened.size === 0) return { digest: '', bad: null };
    const { digest, program } = await memberDigest(await inMemoryIfSmall(opened));
    const hex = (await digest('sha256')).toString('hex');
    if (!program || program.signatures.length === 0) return { digest: hex, bad: null };
    const { problems } = await verifySignableFile(program);
    const bad = problems
      .filter(({ code }) => !OF_TIME.has(code))
      .map(({ message, code }) => `${message} [${code}]`);
    return { digest: hex, bad: bad.length > 0 ? bad.join('; ') : null };
  });

/** What becomes of good signatures by themselves: the catalog vouches for the file nevertheless. */
const OF_TIME: ReadonlySet<string> = new Set([
  'certificate-expired',
  'certificate-not-yet-valid',
  'digest-weak',
]);

function missing({ byPath, byDigest }: Expectation, seen: ReadonlySet<string>): FileFault[] {
  const lacking = byPath
    ? [...byPath].filter(([key]) => !seen.has(key)).map(([, { path }]) => path)
    : [...byDigest].filter(([digest]) => !seen.has(digest)).map(([, name]) => name);
  return lacking.map((path) => ({
    code: 'catalog-file-missing',
    path,
    message: 'the catalog lists it, and it is not there',
  }));
}

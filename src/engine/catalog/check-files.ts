import { inMemoryIfSmall, withFile, type ByteSource } from '../../lib/bytes/byte-source.ts';
import { invalid, isInvalid } from '../../lib/errors.ts';
import { mapConcurrently } from '../../lib/concurrency/map-concurrently.ts';
import { AT_ONCE } from './make-catalog.ts';
import { verifySignableFile } from '../authenticode/verify.ts';
import { CatalogFile } from '../formats/catalog/catalog-file.ts';
import type { TrustList } from '../formats/catalog/trust-list.ts';
import { openSignableFile } from '../formats/recognize.ts';
import { digestKey, EMPTY, expectationOf, type Expectation, type ListedDigest } from './expected-files.ts';
import { findFiles, requireFolder, type FoundFile } from './listed-paths.ts';
import { memberDigest } from './member-digest.ts';
import { folded } from './windows-paths.ts';

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

/**
 * Compares the files of a folder with those that a catalog lists. An entry with paths (New-FileCatalog, signpipe) is for the files
 * there; one without, as in catalogs of drivers, is for any file with its digest. Whether the catalog's signature is good is
 * not examined here.
 *
 * | code                    | meaning                                                                   |
 * | ----------------------- | ------------------------------------------------------------------------- |
 * | `catalog-file-missing`  | the catalog lists it, the folder lacks it                                 |
 * | `catalog-file-extra`    | the catalog does not list it                                              |
 * | `catalog-file-changed`  | its digest is not the one that the catalog lists for its path             |
 * | `catalog-file-bad`      | a program whose own signature is bad, or holds unauthenticated data       |
 *
 * Throws `catalog-path-repeated`, `catalog-entry-differs` or `catalog-sha1` if the catalog cannot be compared, `not-a-catalog`,
 * and `not-a-folder`.
 */
export async function checkFiles(catalog: ByteSource, folder: string): Promise<FilesReport> {
  await requireFolder(folder);
  const expected = expectationOf(await listIn(catalog), catalog.name);
  const files = await findFiles([folder], catalog.name);
  const checked = await mapConcurrently(files, AT_ONCE, (file) => checkFile(file, expected));
  const accounted = new Set(checked.map((each) => each.accounted));
  const faults = checked.map(({ fault }) => fault).filter((fault) => fault !== null);
  const good = files.length - faults.length;
  return { good, faults: [...faults, ...missing(expected, accounted)] };
}

async function listIn(source: ByteSource): Promise<TrustList> {
  const file = await openSignableFile(source);
  if (file instanceof CatalogFile) return file.list;
  throw invalid('not-a-catalog', `${source.name}: not a catalog, so it lists no files`);
}

/** The expectation that a file accounts for, if any, and what is wrong with the file, if anything. */
interface Checked {
  readonly accounted: ListedDigest | undefined;
  readonly fault: FileFault | null;
}

async function checkFile(found: FoundFile, { byPath, anywhere }: Expectation): Promise<Checked> {
  const { path, special } = found;
  const listed = byPath.get(folded(path));
  const faulty = (what: Omit<FileFault, 'path'>, accounted = listed): Checked => ({
    accounted,
    fault: { ...what, path },
  });
  const extra = (message: string): Checked => faulty({ code: 'catalog-file-extra', message });
  if (special) return extra('a link, pipe or device');
  if (!listed && anywhere.size === 0) return extra('the catalog does not list it');
  try {
    const { digest, bad } = await digestOf(found.file);
    const accounted = listed ?? anywhere.get(digest);
    if (!accounted) return extra(`the catalog does not list its ${describeDigest(digest)}`);
    if (bad !== null) return faulty({ code: 'catalog-file-bad', message: bad }, accounted);
    if (accounted.digest === digest) return { accounted, fault: null };
    const [has, wanted] = [describeDigest(digest), describeDigest(accounted.digest)];
    const message = `it has the ${has}, the catalog lists the ${wanted}`;
    return faulty({ code: 'catalog-file-changed', message });
  } catch (error) {
    if (!isInvalid(error)) throw error;
    return faulty({ code: error.code, message: error.message });
  }
}

/** A digest as messages name it. */
function describeDigest(key: string): string {
  const [kind, hex] = key.split(':');
  if (key === EMPTY) return 'digest of an empty file';
  return kind === 'pe' ? `Authenticode digest ${hex}` : `SHA-256 ${hex}`;
}

/**
 * The digest of a file, as `ListedDigest` has it. That of a program leaves out its signatures, so these are verified: nothing
 * may hide in them.
 */
const digestOf = (file: string): Promise<{ readonly digest: string; readonly bad: string | null }> =>
  withFile(file, async (opened) => {
    if (opened.size === 0) return { digest: EMPTY, bad: null };
    const { kind, digest, program } = await memberDigest(await inMemoryIfSmall(opened));
    const key = digestKey(kind, await digest('sha256'));
    if (!program || program.signatures.length === 0) return { digest: key, bad: null };
    const { problems } = await verifySignableFile(program);
    const bad = problems
      .filter(({ code }) => !OF_TIME.has(code))
      .map(({ message, code }) => `${message} [${code}]`);
    return { digest: key, bad: bad.length > 0 ? bad.join('; ') : null };
  });

/** What becomes of good signatures by themselves: the catalog vouches for the file nevertheless. */
const OF_TIME: ReadonlySet<string> = new Set([
  'certificate-expired',
  'certificate-not-yet-valid',
  'digest-weak',
]);

function missing(
  { byPath, anywhere }: Expectation,
  accounted: ReadonlySet<ListedDigest | undefined>,
): FileFault[] {
  const lacking = [...byPath.values(), ...anywhere.values()].filter((each) => !accounted.has(each));
  return lacking
    .map(({ name }) => name)
    .sort()
    .map((path) => ({
      code: 'catalog-file-missing',
      path,
      message: 'the catalog lists it, and it is not there',
    }));
}

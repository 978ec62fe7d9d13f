import { inOrder } from '../../lib/concurrency/in-order.ts';
import type { CentralEntry } from '../../lib/zip/central-directory.ts';
import { requireAllOpenable, type PartialArchive } from '../../lib/zip/read-zip.ts';
import type { ArchiveEntry } from '../../lib/zip/local-headers.ts';
import type { NewContent } from '../../lib/zip/rewrite-zip.ts';
import { mayBeProgram, mayBeZip } from '../formats/program-names.ts';
import { requireSignableSize } from '../formats/recognize.ts';
import { isOurs } from './globs.ts';
import { Budget, Descent } from './inside/descent.ts';
import type { FileToSign, FindOptions } from './inside/file-to-sign.ts';
import { Search } from './inside/find-inside.ts';
import { FoundSigner } from './inside/sign-inside.ts';
import { checkPin, requireAllPinsFound } from './pinned-digests.ts';
import {
  NoPrograms,
  requireSomethingToSign,
  type LeftAlone,
  type SignArtifactOptions,
  type SignedArtifact,
} from './signed-artifact.ts';
import { Spool, type UnpackedProgram } from './unpacked-programs.ts';

/** Entries being unpacked at once: Node has four threads for that. */
const UNPACKING = 4;

const isNestedZip = (entry: CentralEntry): boolean =>
  !entry.directory && !entry.symlink && mayBeZip(entry.path);

/**
 * Whether an entry has to be read: it is ours, or a zip that is to be opened. Zips are known by name alone: to look at the
 * content of every entry would take longer than signing. Of a zip that pins entries, only pinned ones are opened.
 */
export function isToRead(
  entry: CentralEntry,
  { isOurs: isMeant, inside, pins }: Pick<FindOptions, 'isOurs' | 'inside' | 'pins'>,
  name: string,
): boolean {
  if (isOurs(entry, isMeant, name)) return true;
  const opensZips = inside === 'sign' || inside === 'require-signed';
  if (!opensZips || !isNestedZip(entry) || isMeant.excludes?.(entry.path) === true) return false;
  return pins === undefined || pins.has(entry.path);
}

async function unpackOne(
  archive: PartialArchive,
  entry: ArchiveEntry,
  spool: Spool,
  pins: FindOptions['pins'],
): Promise<UnpackedProgram> {
  requireSignableSize(entry.size, `${archive.source.name}!/${entry.path}`);
  const program = await spool.unpack(archive, entry);
  checkPin(entry.path, program, pins);
  return program;
}

/** Zips in a zip that were not looked into, by name. */
const nestedZips = (archive: PartialArchive, opened: ReadonlySet<string>): LeftAlone[] =>
  archive.entries
    .filter((entry) => isNestedZip(entry) && !opened.has(entry.path))
    .map(({ path }) => ({ path, why: 'nested-zip' }));

/** What is to be done with a zip. */
export interface EntriesToSign extends Omit<SignedArtifact, 'kind' | 'signed'> {
  /** In the order of the directory. */
  readonly files: readonly FileToSign[];
}

/**
 * Decides what is to be signed in a zip; all of that must be located in it. What is returned can be used until the spool is
 * closed.
 */
export async function findInZip(
  archive: PartialArchive,
  options: FindOptions,
  spool: Spool,
): Promise<EntriesToSign> {
  const { source, limits } = archive;
  const { name } = source;
  const entries = archive.entries.filter((entry) => !entry.directory).length;
  const toRead = archive.located
    .filter((entry) => !entry.directory && isToRead(entry, options, name))
    .sort((a, b) => a.index - b.index);
  requireAllPinsFound(toRead, options.pins, name);
  requireAllOpenable(source, toRead, limits);
  const search = new Search(options, new Descent(new Budget(limits, source.size), spool));
  const files: FileToSign[] = [];
  // Several are unpacked at once; if some are refused, the first in order is reported.
  const tasks = toRead.map((entry) => () => unpackOne(archive, entry, spool, options.pins));
  const unpacked: UnpackedProgram[] = [];
  for await (const each of inOrder(tasks, UNPACKING)) unpacked.push(each);
  for (const [index, entry] of toRead.entries()) {
    const each = unpacked[index];
    const found =
      each && (await search.file(each, { path: entry.path }, isOurs(entry, options.isOurs, name)));
    if (found) files.push(found);
  }
  search.requireSignedInside(name);
  const { kept, unsignedInside } = search;
  // Packages that are signed themselves are zips too.
  const lookedAt = search.opensZips ? toRead : [...files, ...kept].filter(({ inside }) => !inside?.length);
  const opened = new Set(lookedAt.map(({ path }) => path));
  const leftAlone = [...search.leftAlone, ...nestedZips(archive, opened)];
  const anyFound = files.length + kept.length + unsignedInside.length > 0;
  const anyMeant = anyFound || toRead.some((entry) => isOurs(entry, options.isOurs, name));
  if (!anyMeant && !archive.entries.some(({ path }) => mayBeProgram(path)))
    throw new NoPrograms(name, { entries, leftAlone });
  requireSomethingToSign(files.length, kept, entries, name);
  return { files, entries, kept, leftAlone, unsignedInside };
}

/**
 * Signs our programs in a zip; all of them must be located in it. `use` is given the new content by path, which is
 * gone when this returns.
 */
export async function signEntries<T>(
  archive: PartialArchive,
  options: SignArtifactOptions,
  use: (contents: ReadonlyMap<string, NewContent>) => Promise<T>,
): Promise<{ readonly artifact: SignedArtifact; readonly used: T }> {
  const spool = new Spool(options.scratch);
  try {
    const { files, ...found } = await findInZip(archive, options, spool);
    const signed = await new FoundSigner(options, files).signAll(files);
    const contents = signed.map(({ content }, index): [string, NewContent] => [
      files[index]?.path ?? '',
      content,
    ]);
    const used = await use(new Map(contents));
    const artifact = { kind: 'zip', ...found, signed: signed.flatMap(({ programs }) => programs) } as const;
    return { artifact, used };
  } finally {
    await spool.close();
  }
}

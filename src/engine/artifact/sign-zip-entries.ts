import type { ByteSource } from '../../lib/bytes/byte-source.ts';
import { unchangedRange } from '../../lib/bytes/delta.ts';
import { inOrder } from '../../lib/concurrency/in-order.ts';
import { mapConcurrently } from '../../lib/concurrency/map-concurrently.ts';
import { Semaphore } from '../../lib/concurrency/semaphore.ts';
import { invalid } from '../../lib/errors.ts';
import { requireAllOpenable, type PartialArchive } from '../../lib/zip/read-zip.ts';
import type { ArchiveEntry } from '../../lib/zip/local-headers.ts';
import type { NewContent } from '../../lib/zip/rewrite-zip.ts';
import { detachedName } from './detached.ts';
import { mayBeProgram, mayBeZip } from '../formats/program-names.ts';
import {
  HEAD_SIZE,
  isAppleDouble,
  openSignableFile,
  fileKindOf,
  requireSignableSize,
} from '../formats/recognize.ts';
import type { SignableFile } from '../formats/signable-file.ts';
import { withSign, type SigningKey } from '../keys/signing-key.ts';
import type { Timestamper } from '../timestamp/client.ts';
import { isOurs } from './globs.ts';
import { checkPin, requireAllPinsFound } from './pinned-digests.ts';
import { keptSigner, signAndVerify } from './sign-program.ts';
import {
  NoPrograms,
  requireSomethingToSign,
  type KeptEntry,
  type LeftAlone,
  type SignArtifactOptions,
  type SignedArtifact,
  type SignedProgram,
} from './signed-artifact.ts';
import { newContent, Spool, type UnpackedProgram } from './unpacked-programs.ts';

/** Entries being unpacked at once: Node has four threads for that. */
const UNPACKING = 4;

/** Programs begun and not ended, unless a key or a courier takes more: enough to hide the latency of a timestamp authority. */
const IN_FLIGHT = 64;

/** Of those, how many are worked on at a time. The others wait for a key or a timestamp, and hold next to nothing. */
const AT_WORK = 8;

/** One of our programs in a zip. */
interface OurProgram extends UnpackedProgram {
  readonly path: string;
}

interface OpenProgram extends OurProgram {
  readonly file: SignableFile;
}

/** Only programs can be ours: a text named x.exe is refused before anything is signed. */
async function requireProgram(source: ByteSource): Promise<void> {
  const { name } = source;
  if ((await fileKindOf(source)) !== 'program')
    throw invalid('not-a-program', `${name}: signing.files names it, but it is no file that can be signed`, {
      hint: 'exclude it from signing.files with "!", or build it again',
    });
}

async function unpackOne(
  archive: PartialArchive,
  entry: ArchiveEntry,
  spool: Spool,
  options: SignArtifactOptions,
): Promise<OurProgram | LeftAlone> {
  requireSignableSize(entry.size, `${archive.source.name}!/${entry.path}`);
  const program = await spool.unpack(archive, entry);
  const { source } = program;
  checkPin(entry.path, program, options.pins);
  const head = await source.read(0, Math.min(source.size, HEAD_SIZE));
  if (isAppleDouble(entry.path, head)) return { path: entry.path, why: 'apple-double' };
  await requireProgram(source);
  return { path: entry.path, ...program };
}

interface UnpackedPrograms {
  readonly programs: OurProgram[];
  readonly leftAlone: LeftAlone[];
}

/** Unpacks several at once; if some are refused, the first in order is reported. */
async function unpackPrograms(
  archive: PartialArchive,
  ours: readonly ArchiveEntry[],
  spool: Spool,
  options: SignArtifactOptions,
): Promise<UnpackedPrograms> {
  const tasks = ours.map((entry) => () => unpackOne(archive, entry, spool, options));
  const result: UnpackedPrograms = { programs: [], leftAlone: [] };
  for await (const each of inOrder(tasks, UNPACKING))
    if ('why' in each) result.leftAlone.push(each);
    else result.programs.push(each);
  return result;
}

/** Zips in a zip, by name alone: to look at the content of every entry would take longer than signing. */
const nestedZips = (archive: PartialArchive): LeftAlone[] =>
  archive.entries
    .filter((entry) => !entry.directory && !entry.symlink && mayBeZip(entry.path))
    .map(({ path }) => ({ path, why: 'nested-zip' }));

interface SortedPrograms {
  readonly kept: KeptEntry[];
  readonly toSign: OpenProgram[];
}

/** Opens each program once, and keeps those open that are to be signed. */
async function sortPrograms(
  programs: readonly OurProgram[],
  options: SignArtifactOptions,
): Promise<SortedPrograms> {
  const sorted: SortedPrograms = { kept: [], toSign: [] };
  for (const program of programs) {
    const file = await openSignableFile(program.source);
    const signer = await keptSigner(file, program.path, options);
    if (signer === null) sorted.toSign.push({ ...program, file });
    else sorted.kept.push({ path: program.path, ...signer });
  }
  return sorted;
}

/** Lets other programs be worked on until the timestamp is there. */
const releasing = (timestamper: Timestamper, semaphore: Semaphore): Timestamper => ({
  concurrency: timestamper.concurrency,
  timestamp: (...request) => semaphore.releaseDuring(() => timestamper.timestamp(...request)),
});

/** Lets other programs be worked on until the signature is there, if it is not this process that makes it. */
const releasingKey = (key: SigningKey, semaphore: Semaphore): SigningKey =>
  key.concurrency === undefined
    ? key
    : withSign(key, (...request) => semaphore.releaseDuring(() => key.sign(...request)));

interface SignedEntry {
  readonly program: SignedProgram;
  readonly content: NewContent;
}

/**
 * Signs each distinct program once: the same bytes under two paths get the same signature, unless the paths make them
 * files of different formats. After a failure nothing
 * new begins, and the failure is thrown when everything begun has ended.
 */
async function signPrograms(
  programs: readonly OpenProgram[],
  options: SignArtifactOptions,
): Promise<SignedEntry[]> {
  const semaphore = new Semaphore(AT_WORK);
  const timestamper = options.timestamper && releasing(options.timestamper, semaphore);
  const key = releasingKey(options.key, semaphore);
  const underway = new Map<string, ReturnType<typeof signAndVerify>>();
  let done = 0;
  const signOne = async ({ path, file, sha256, blocks }: OpenProgram): Promise<SignedEntry> => {
    const id = `${file.format} ${detachedName(file, sha256)}`;
    const signing =
      underway.get(id) ??
      semaphore.run(() => signAndVerify(path, { file, before: sha256 }, { ...options, key, timestamper }));
    underway.set(id, signing);
    const { program, content } = await signing;
    options.onProgress?.(++done, programs.length);
    const unchanged = unchangedRange(content.delta);
    return { program: { ...program, path }, content: newContent(content, unchanged, blocks) };
  };
  options.onProgress?.(0, programs.length);
  const inFlight = Math.max(IN_FLIGHT, 2 * (key.concurrency ?? 0), timestamper?.concurrency ?? 0);
  return mapConcurrently(programs, inFlight, signOne);
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
    const { name } = archive.source;
    const entries = archive.entries.filter((entry) => !entry.directory).length;
    const ours = archive.located
      .filter((entry) => !entry.directory && isOurs(entry, options.isOurs, name))
      .sort((a, b) => a.index - b.index);
    requireAllPinsFound(ours, options.pins, name);
    requireAllOpenable(archive.source, ours, options.limits);
    const { programs, leftAlone } = await unpackPrograms(archive, ours, spool, options);
    const { kept, toSign } = await sortPrograms(programs, options);
    if (ours.length === 0 && !archive.entries.some(({ path }) => mayBeProgram(path)))
      throw new NoPrograms(name, { entries, leftAlone: nestedZips(archive) });
    requireSomethingToSign(toSign.length, kept, entries, name);
    const signed = await signPrograms(toSign, options);
    const used = await use(new Map(signed.map(({ program, content }) => [program.path, content])));
    return {
      artifact: {
        kind: 'zip',
        entries,
        kept,
        leftAlone: [...leftAlone, ...nestedZips(archive)],
        signed: signed.map(({ program }) => program),
      },
      used,
    };
  } finally {
    await spool.close();
  }
}

import { inOrder } from '../../lib/concurrency/in-order.ts';
import { requireModest, type ArchiveEntry, type PartialArchive } from '../../lib/zip/read-zip.ts';
import type { NewContent } from '../../lib/zip/rewrite-zip.ts';
import { mayBeZip } from '../formats/program-names.ts';
import type { ByteSource } from '../../lib/bytes/byte-source.ts';
import { invalid } from '../../lib/errors.ts';
import type { Timestamper } from '../timestamp/client.ts';
import { isOurs } from './globs.ts';
import {
  HEAD_SIZE,
  isAppleDouble,
  recognizeHead,
  requireProgramName,
  requireSignableSize,
} from '../formats/recognize.ts';
import { checkPin, requireAllPinsFound } from './pinned-digests.ts';
import { keptSigner, signAndCheck, type KeptEntry, type SignedEntry } from './sign-program.ts';
import {
  newContent,
  requireSomething,
  withoutContent,
  type LeftAlone,
  type SignedArtifact,
  type SignArtifactOptions,
} from './sign-result.ts';
import { Spool, type Spooled } from './spool.ts';
import { mapConcurrently } from '../../lib/concurrency/map-concurrently.ts';
import { Semaphore } from '../../lib/concurrency/semaphore.ts';

/** Entries being unpacked at once: Node has four threads for that. */
const UNPACKING = 4;

/** Programs begun and not ended: enough to hide a timestamp authority's latency. */
const IN_FLIGHT = 64;

/** Of those, how many are worked on at a time. The others wait for a timestamp, and hold next to nothing. */
const AT_WORK = 8;

interface Candidate {
  readonly path: string;
  readonly program: Spooled;
}

/** Only what is a program can be ours: a text named x.exe is refused before anything is signed. */
function requireProgram(source: ByteSource, head: Buffer): void {
  if (recognizeHead(head, source.name) !== 'program')
    throw invalid('not-a-program', `${source.name}: signing.files names it, but it is no Windows program`, {
      hint: 'exclude it from signing.files with "!", or build it again',
    });
  requireProgramName(source.name);
}

async function unpackOne(
  archive: PartialArchive,
  entry: ArchiveEntry,
  spool: Spool,
  options: SignArtifactOptions,
): Promise<Candidate | LeftAlone> {
  requireSignableSize(entry.size, `${archive.source.name}!/${entry.path}`);
  const program = await spool.take(archive, entry);
  checkPin(entry.path, program, options.pins);
  const head = await program.source.read(0, Math.min(program.source.size, HEAD_SIZE));
  if (isAppleDouble(entry.path, head)) return { path: entry.path, why: 'apple-double' };
  requireProgram(program.source, head);
  return { path: entry.path, program };
}

/** Unpacks several at once; of those that are refused, the first in order counts. */
async function unpack(
  archive: PartialArchive,
  ours: readonly ArchiveEntry[],
  spool: Spool,
  options: SignArtifactOptions,
): Promise<Unpacked> {
  const tasks = ours.map((entry) => () => unpackOne(archive, entry, spool, options));
  const result: Unpacked = { candidates: [], leftAlone: [] };
  for await (const each of inOrder(tasks, UNPACKING))
    if ('why' in each) result.leftAlone.push(each);
    else result.candidates.push(each);
  return result;
}

interface Unpacked {
  readonly candidates: Candidate[];
  readonly leftAlone: LeftAlone[];
}

/** Zips in a zip, by name alone: to look at the content of every entry would take longer than signing. */
const nestedZips = (archive: PartialArchive): LeftAlone[] =>
  archive.entries
    .filter((entry) => !entry.directory && !entry.symlink && mayBeZip(entry.path))
    .map(({ path }) => ({ path, why: 'nested-zip' }));

interface Sorted {
  readonly kept: KeptEntry[];
  readonly toSign: Candidate[];
}

async function sortOut(candidates: readonly Candidate[], options: SignArtifactOptions): Promise<Sorted> {
  const sorted: Sorted = { kept: [], toSign: [] };
  for (const candidate of candidates) {
    const signer = await keptSigner(candidate.program.source, candidate.path, options);
    if (signer === null) sorted.toSign.push(candidate);
    else sorted.kept.push({ path: candidate.path, ...signer });
  }
  return sorted;
}

/** Who asks it for a timestamp lets others work until it is there. */
const patient = (timestamper: Timestamper, semaphore: Semaphore): Timestamper => ({
  timestamp: (data, hash) => semaphore.releaseDuring(() => timestamper.timestamp(data, hash)),
});

/**
 * Signs each distinct program once: the same bytes under two paths get the same signature. The first
 * failure stops what has not begun, and leaves only when everything begun has come to an end.
 */
async function signAll(
  candidates: readonly Candidate[],
  options: SignArtifactOptions,
): Promise<SignedEntry[]> {
  const semaphore = new Semaphore(AT_WORK);
  const steppingAside = {
    ...options,
    timestamper: options.timestamper && patient(options.timestamper, semaphore),
  };
  const underway = new Map<string, Promise<SignedEntry>>();
  let done = 0;
  const signOne = async ({ path, program }: Candidate): Promise<SignedEntry> => {
    const begun =
      underway.get(program.sha256) ?? semaphore.run(() => signAndCheck(path, program, steppingAside));
    underway.set(program.sha256, begun);
    const entry = await begun;
    options.onProgress?.(++done, candidates.length);
    return { ...entry, path, packed: program.map };
  };
  options.onProgress?.(0, candidates.length);
  return mapConcurrently(candidates, IN_FLIGHT, signOne);
}

/**
 * Signs our programs in a zip; all of these must be located in it. `use` is given the new content by path, which
 * is gone when this returns.
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
    requireModest(archive.source, ours, options.limits);
    const { candidates, leftAlone } = await unpack(archive, ours, spool, options);
    const { kept, toSign } = await sortOut(candidates, options);
    requireSomething(toSign.length, kept, entries, name);
    const signed = await signAll(toSign, options);
    const used = await use(contentsOf(signed));
    leftAlone.push(...nestedZips(archive));
    return { artifact: { kind: 'zip', entries, kept, leftAlone, signed: signed.map(withoutContent) }, used };
  } finally {
    await spool.close();
  }
}

const contentsOf = (signed: readonly SignedEntry[]): Map<string, NewContent> =>
  new Map(
    signed.map(({ path, content, unchanged, packed }) => [path, newContent(content, unchanged, packed)]),
  );

import pLimit from 'p-limit';
import { inOrder } from '../archive/ordered.ts';
import type { ArchiveEntry, PartialArchive } from '../archive/read.ts';
import type { NewContent } from '../archive/rewrite.ts';
import { HEAD_SIZE, isSignable, requireRoom } from '../authenticode/image.ts';
import type { ByteSource } from '../io/source.ts';
import { invalid } from '../errors.ts';
import type { Timestamper } from '../timestamp/authority.ts';
import { isOurs } from './patterns.ts';
import { checkPin, requireAllPinsFound } from './pins.ts';
import { keptSigner, signAndCheck, type KeptEntry, type SignedEntry } from './sign-program.ts';
import {
  newContent,
  requireSomething,
  withoutContent,
  type SignedFile,
  type SignFileOptions,
} from './signed-file.ts';
import { Spool, type Spooled } from './spool.ts';
import { Turns } from './turns.ts';

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
async function requireProgram(source: ByteSource): Promise<void> {
  if (!isSignable(await source.read(0, Math.min(source.size, HEAD_SIZE))))
    throw invalid('not-a-program', `${source.name}: signing.files names it, but it is no Windows program`, {
      hint: 'exclude it from signing.files with "!", or build it again',
    });
}

async function unpackOne(
  archive: PartialArchive,
  entry: ArchiveEntry,
  spool: Spool,
  options: SignFileOptions,
): Promise<Candidate> {
  requireRoom(entry.size, `${archive.source.name}!/${entry.path}`);
  const program = await spool.take(archive, entry);
  checkPin(entry.path, program, options.pins);
  await requireProgram(program.source);
  return { path: entry.path, program };
}

/** Unpacks several at once; of those that are refused, the first in order counts. */
async function unpack(
  archive: PartialArchive,
  ours: readonly ArchiveEntry[],
  spool: Spool,
  options: SignFileOptions,
): Promise<Candidate[]> {
  const tasks = ours.map((entry) => () => unpackOne(archive, entry, spool, options));
  const result: Candidate[] = [];
  for await (const candidate of inOrder(tasks, UNPACKING)) result.push(candidate);
  return result;
}

interface Sorted {
  readonly kept: KeptEntry[];
  readonly toSign: Candidate[];
}

async function sortOut(candidates: readonly Candidate[], options: SignFileOptions): Promise<Sorted> {
  const sorted: Sorted = { kept: [], toSign: [] };
  for (const candidate of candidates) {
    const signer = await keptSigner(candidate.program.source, candidate.path, options);
    if (signer === null) sorted.toSign.push(candidate);
    else sorted.kept.push({ path: candidate.path, ...signer });
  }
  return sorted;
}

/** Who asks it for a timestamp lets others work until it is there. */
const patient = (timestamper: Timestamper, turns: Turns): Timestamper => ({
  timestamp: (data, hash) => turns.aside(() => timestamper.timestamp(data, hash)),
});

/**
 * Signs each distinct program once: the same bytes under two paths get the same signature. The first
 * failure stops what has not begun, and leaves only when everything begun has come to an end.
 */
async function signAll(candidates: readonly Candidate[], options: SignFileOptions): Promise<SignedEntry[]> {
  const limit = pLimit(IN_FLIGHT);
  const turns = new Turns(AT_WORK);
  const steppingAside = {
    ...options,
    timestamper: options.timestamper && patient(options.timestamper, turns),
  };
  const underway = new Map<string, Promise<SignedEntry>>();
  const failures: unknown[] = [];
  let done = 0;
  const signUnlessFailed = async ({ path, program }: Candidate): Promise<SignedEntry> => {
    if (failures.length > 0) throw failures[0];
    try {
      return await signAndCheck(path, program, steppingAside);
    } catch (error) {
      failures.push(error);
      throw error;
    }
  };
  const signOne = async (candidate: Candidate): Promise<SignedEntry> => {
    const begun =
      underway.get(candidate.program.sha256) ?? limit(() => turns.run(() => signUnlessFailed(candidate)));
    underway.set(candidate.program.sha256, begun);
    const entry = await begun;
    options.onProgress?.(++done, candidates.length);
    return { ...entry, path: candidate.path, packed: candidate.program.map };
  };
  options.onProgress?.(0, candidates.length);
  const settled = await Promise.allSettled(candidates.map(signOne));
  if (failures.length > 0) throw failures[0];
  return settled.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
}

/** What was done to the programs of ours in a zip, and what came of writing it. */
export interface SignedOurs<T> {
  readonly made: Omit<SignedFile, 'output'>;
  readonly written: T;
}

/**
 * Signs what is ours in a zip, all of which must be located in it. `write` is given the new content by path,
 * which is gone when this returns.
 */
export async function signOurs<T>(
  archive: PartialArchive,
  options: SignFileOptions,
  write: (contents: ReadonlyMap<string, NewContent>) => Promise<T>,
): Promise<SignedOurs<T>> {
  const spool = new Spool(options.scratch);
  try {
    const { name } = archive.source;
    const entries = archive.entries.filter((entry) => !entry.directory).length;
    const ours = archive.located
      .filter((entry) => !entry.directory && isOurs(entry, options.isOurs, name))
      .sort((a, b) => a.index - b.index);
    requireAllPinsFound(ours, options.pins, name);
    const { kept, toSign } = await sortOut(await unpack(archive, ours, spool, options), options);
    requireSomething(toSign.length, kept, entries, name);
    const signed = await signAll(toSign, options);
    const written = await write(contentsOf(signed));
    return { made: { kind: 'zip', entries, kept, signed: signed.map(withoutContent) }, written };
  } finally {
    await spool.close();
  }
}

const contentsOf = (signed: readonly SignedEntry[]): Map<string, NewContent> =>
  new Map(
    signed.map(({ path, content, unchanged, packed }) => [path, newContent(content, unchanged, packed)]),
  );

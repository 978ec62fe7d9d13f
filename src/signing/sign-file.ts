import { createHash } from 'node:crypto';
import pLimit from 'p-limit';
import {
  readArchive,
  isZip,
  type ArchiveEntry,
  type ArchiveLimits,
  type PartialArchive,
} from '../archive/read.ts';
import { rewriteArchive } from '../archive/rewrite.ts';
import { HEAD_SIZE, isSignable } from '../authenticode/image.ts';
import { writeStreamAtomically } from '../io/atomic.ts';
import { printable } from '../printable.ts';
import { sha256OfSource } from '../io/hash.ts';
import { scan } from '../io/scan.ts';
import { withFile, type ByteSource } from '../io/source.ts';
import { invalid, notAllowed, SignpipeError } from '../errors.ts';
import type { PathFilter } from './patterns.ts';
import {
  keptSigner,
  signAndCheck,
  type KeptEntry,
  type SignedEntry,
  type SigningOptions,
} from './sign-program.ts';
import { Spool, type Spooled } from './spool.ts';

export interface SignFileOptions extends SigningOptions {
  /** Which entries of a zip are ours. A lone program that was named is ours whatever its name. */
  readonly isOurs: PathFilter;
  readonly limits: ArchiveLimits;
  /** A folder for unpacked programs; emptied again. */
  readonly scratch: string;
  /** SHA-256 by path: with it every entry of ours must be named here, and match. */
  readonly pins?: ReadonlyMap<string, string> | undefined;
  /** Told after each program, how many of how many are done. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** What was done to one file. */
export interface SignedFile {
  readonly kind: 'zip' | 'program';
  /** Files in the zip, folders left out; 1 for a lone program. */
  readonly entries: number;
  readonly signed: readonly Omit<SignedEntry, 'content'>[];
  readonly kept: readonly KeptEntry[];
  readonly output: { readonly size: number; readonly sha256: string };
}

/** Programs being signed at once: enough to hide a timestamp authority's latency. */
const IN_FLIGHT = 16;

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

/** Refuses, before anything of them is read, what is not pinned entry by entry. */
export function requirePinned(
  ours: readonly { readonly path: string }[],
  pins: ReadonlyMap<string, string>,
  name: string,
): void {
  for (const { path } of ours) requirePin(path, pins, `${name}!/${path}`);
  requireAllPinsFound(ours, pins, name);
}

function requirePin(path: string, pins: ReadonlyMap<string, string>, name: string): string {
  const pin = pins.get(path);
  if (pin !== undefined) return pin;
  throw notAllowed('entry-unpinned', `${name}: zipname pins entries of this zip, but not this one`, {
    hint: 'pin every program that is to be signed, or the zip as a whole',
  });
}

function checkPin(path: string, program: Spooled, pins: ReadonlyMap<string, string> | undefined): void {
  if (!pins) return;
  const pin = requirePin(path, pins, program.source.name);
  if (pin !== program.sha256)
    throw invalid(
      'entry-digest-differs',
      `${program.source.name}: SHA-256 is ${program.sha256}, zipname says ${pin}`,
      {
        hint: 'upload the very bytes that were pinned, or commit their digest',
      },
    );
}

function requireAllPinsFound(
  ours: readonly { readonly path: string }[],
  pins: ReadonlyMap<string, string> | undefined,
  name: string,
): void {
  const there = new Set(ours.map((entry) => entry.path));
  for (const path of pins?.keys() ?? []) {
    if (!there.has(path))
      throw invalid(
        'pinned-entry-missing',
        `${name}: zipname pins "${path}", which is not among the programs to sign in it`,
        {
          hint: 'check the path, and signing.files on the signer',
        },
      );
  }
}

async function unpack(
  archive: PartialArchive,
  ours: readonly ArchiveEntry[],
  spool: Spool,
  options: SignFileOptions,
): Promise<Candidate[]> {
  const result: Candidate[] = [];
  for (const entry of ours) {
    const name = `${archive.source.name}!/${entry.path}`;
    const program = await spool.take(await archive.open(entry), entry.size, name);
    checkPin(entry.path, program, options.pins);
    await requireProgram(program.source);
    result.push({ path: entry.path, program });
  }
  return result;
}

interface Sorted {
  readonly kept: KeptEntry[];
  readonly toSign: Candidate[];
}

async function sortOut(candidates: readonly Candidate[], options: SignFileOptions): Promise<Sorted> {
  const sorted: Sorted = { kept: [], toSign: [] };
  for (const candidate of candidates) {
    const signer = await keptSigner(candidate.program.source, options.alreadySigned);
    if (signer === null) sorted.toSign.push(candidate);
    else sorted.kept.push({ path: candidate.path, signer });
  }
  return sorted;
}

/**
 * Signs each distinct program once: the same bytes under two paths get the same signature. The first
 * failure stops what has not begun, and leaves only when everything begun has come to an end.
 */
async function signAll(candidates: readonly Candidate[], options: SignFileOptions): Promise<SignedEntry[]> {
  const limit = pLimit(IN_FLIGHT);
  const underway = new Map<string, Promise<SignedEntry>>();
  const failures: unknown[] = [];
  let done = 0;
  const signUnlessFailed = async ({ path, program }: Candidate): Promise<SignedEntry> => {
    if (failures.length > 0) throw failures[0];
    try {
      return await signAndCheck(path, program, options);
    } catch (error) {
      failures.push(error);
      throw error;
    }
  };
  const signOne = async (candidate: Candidate): Promise<SignedEntry> => {
    const begun = underway.get(candidate.program.sha256) ?? limit(() => signUnlessFailed(candidate));
    underway.set(candidate.program.sha256, begun);
    const entry = await begun;
    options.onProgress?.(++done, candidates.length);
    return { ...entry, path: candidate.path };
  };
  options.onProgress?.(0, candidates.length);
  const settled = await Promise.allSettled(candidates.map(signOne));
  if (failures.length > 0) throw failures[0];
  return settled.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
}

function requireSomething(signed: number, kept: readonly KeptEntry[], files: number, name: string): void {
  if (signed > 0) return;
  const [first, ...others] = kept;
  if (!first)
    throw notAllowed(
      'nothing-to-sign',
      `${name}: nothing to sign: none of its files is ours (${files} in all)`,
      {
        hint: 'check the zip, and signing.files on the signer',
      },
    );
  const whose = `signed already, ${first.path === '' ? '' : `${first.path} `}by ${printable(first.signer, 200)}`;
  const told = others.length > 0 ? `all ${kept.length} programs of ours are ${whose}` : `it is ${whose}`;
  throw notAllowed('nothing-to-sign', `${name}: nothing to sign: ${told}`, {
    hint: 'send unsigned programs, or have the signer replace or append (signing.alreadySigned)',
  });
}

export const withoutContent = ({ content: _content, ...entry }: SignedEntry): Omit<SignedEntry, 'content'> =>
  entry;

/** What was done to the programs of ours in a zip; the zip itself is yet to be written. */
export interface SignedPrograms {
  readonly entries: number;
  readonly signed: readonly SignedEntry[];
  readonly kept: readonly KeptEntry[];
}

/** Signs what is ours in a zip, all of which must be located in it. */
export async function signOurs(
  archive: PartialArchive,
  spool: Spool,
  options: SignFileOptions,
): Promise<SignedPrograms> {
  const { name } = archive.source;
  const entries = archive.entries.filter((entry) => !entry.directory).length;
  const ours = archive.located
    .filter((entry) => !entry.directory && options.isOurs(entry.path))
    .sort((a, b) => a.index - b.index);
  requireAllPinsFound(ours, options.pins, name);
  const { kept, toSign } = await sortOut(await unpack(archive, ours, spool, options), options);
  requireSomething(toSign.length, kept, entries, name);
  return { entries, kept, signed: await signAll(toSign, options) };
}

/** The new content of a zip's entries, by path. */
export const replacementsOf = ({ signed }: SignedPrograms): Map<string, ByteSource> =>
  new Map(signed.map((entry) => [entry.path, entry.content]));

async function signZip(
  source: ByteSource,
  output: string,
  spool: Spool,
  options: SignFileOptions,
): Promise<SignedFile> {
  const archive = await readArchive(source, options.limits);
  const programs = await signOurs(archive, spool, options);
  await rewriteArchive(archive, replacementsOf(programs), output);
  return {
    ...programs,
    kind: 'zip',
    signed: programs.signed.map(withoutContent),
    output: await withFile(output, async (file) => ({ size: file.size, sha256: await sha256OfSource(file) })),
  };
}

/** What was verified a moment ago, once more; fails at its end when it is not that any longer. */
async function* verified(content: ByteSource, sha256: string): AsyncGenerator<Buffer> {
  const hash = createHash('sha256');
  for await (const chunk of scan(content)) {
    hash.update(chunk);
    yield chunk;
  }
  if (hash.digest('hex') !== sha256)
    throw new SignpipeError(
      'local',
      'own-signature-bad',
      `${content.name}: it changed while it was signed, and is not what was verified`,
      { hint: 'nothing was delivered; sign it again, and let nothing write to it meanwhile' },
    );
}

async function signLone(source: ByteSource, output: string, options: SignFileOptions): Promise<SignedFile> {
  if (options.pins)
    throw invalid(
      'pinned-entry-missing',
      `${source.name}: zipname pins entries of it, but it is a program, not a zip`,
      {
        hint: 'pin the file itself: sha256sum FILE',
      },
    );
  const program = { source, sha256: await sha256OfSource(source) };
  const signer = await keptSigner(source, options.alreadySigned);
  requireSomething(signer === null ? 1 : 0, signer === null ? [] : [{ path: '', signer }], 1, source.name);
  const [entry] = await signAll([{ path: '', program }], options);
  if (!entry) throw new RangeError('one program in, one out');
  const { content, after } = entry;
  await writeStreamAtomically(output, verified(content, after.sha256));
  return { kind: 'program', entries: 1, signed: [withoutContent(entry)], kept: [], output: { ...after } };
}

/**
 * Signs a program, or the programs of ours in a zip, recognised by content and not by name. The
 * input is never changed; the output appears whole, verified and strip-proof, or not at all.
 */
export async function signFile(
  input: string,
  output: string,
  options: SignFileOptions,
  name = input,
): Promise<SignedFile> {
  return withFile(
    input,
    async (source) => {
      const head = await source.read(0, Math.min(source.size, HEAD_SIZE));
      const spool = new Spool(options.scratch);
      try {
        if (isZip(head)) return await signZip(source, output, spool, options);
        if (isSignable(head)) return await signLone(source, output, options);
      } finally {
        await spool.close();
      }
      throw invalid('not-signable', `${name}: neither a zip nor a Windows program`, {
        hint: 'send a .zip, or a program such as .exe or .dll',
      });
    },
    name,
  );
}

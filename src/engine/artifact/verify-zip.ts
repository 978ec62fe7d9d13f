import type { Archive, ArchiveEntry, ArchiveLimits } from '../../lib/zip/read-zip.ts';
import { pathsOf } from '../../lib/zip/entry-paths.ts';
import { HEAD_SIZE, isAppleDouble, recognizeHead } from '../formats/recognize.ts';
import { mayBeProgram } from '../formats/program-names.ts';
import type { VerifyReport } from '../authenticode/report.ts';
import type { VerifyOptions } from '../authenticode/verify.ts';
import { invalid, type SignpipeError, isInvalid } from '../../lib/errors.ts';
import type { ByteSource } from '../../lib/bytes/byte-source.ts';
import { isOurs, type PathFilter } from './globs.ts';
import { readZip } from '../formats/packages.ts';
import { Spool } from './spool.ts';
import { verifyProgram } from './verify-program.ts';

/** One program. In a zip, other people's programs lie beside ours. */
export interface ProgramReport extends VerifyReport {
  /** Its signatures hold, and none of them leads to the roots that were given: another signer's program. */
  readonly stranger?: true;
  /** The patterns take it in: it must be good. */
  readonly meant?: true;
}

/** An entry that could not be looked into, or that is no program though the patterns name it. */
export interface UnreadEntry {
  readonly path: string;
  /** `zip-method-unsupported`, `zip-bomb`, `not-a-program`, ... */
  readonly code: string;
  readonly message: string;
  /** Whether it may be a program that has to be signed, so that the zip is not good. */
  readonly suspect: boolean;
}

export interface VerifyFileOptions extends VerifyOptions {
  readonly limits: ArchiveLimits;
  readonly scratch: string;
  /** Which programs of a zip must be good, by path. If not given, names are judged by `mayBeProgram`. */
  readonly isMeant?: PathFilter | undefined;
}

/** What was found in a zip. */
export interface ZipReport {
  readonly programs: readonly ProgramReport[];
  readonly unread: readonly UnreadEntry[];
  /** Paths of zips inside, which were not looked into. */
  readonly nested: readonly string[];
}

/**
 * With roots, distinguishes a program whose signatures all lead elsewhere from one whose signature is broken. One that
 * also has a signature that leads to the roots is bad: others added theirs to a program of ours.
 */
async function verifyAmongOthers(source: ByteSource, options: VerifyOptions): Promise<ProgramReport> {
  const report = await verifyProgram(source, options);
  const ours = report.signatures.some(({ trusted }) => trusted === true);
  if (report.status !== 'bad' || !options.roots || ours) return report;
  const { roots: _roots, timestampRoots: _timestampRoots, ...withoutRoots } = options;
  const alone = await verifyProgram(source, withoutRoots);
  return alone.status === 'intact' ? { ...alone, stranger: true } : report;
}

/** What became of one entry, by what it is; null if it is nothing that matters here. */
type Found = { program: ProgramReport } | { unread: UnreadEntry } | { nested: string } | null;

/** An entry on its way through. */
interface Passing {
  readonly archive: Archive;
  readonly entry: ArchiveEntry;
  /** Whether the patterns take it in; null if there are none. */
  readonly meant: boolean | null;
}

/** For want of its content, the patterns say whether an entry must be good, or else its name. */
const unreadEntry = ({ entry, meant }: Passing, { code, message }: SignpipeError): Found => ({
  unread: { path: entry.path, code, message, suspect: meant ?? pathsOf(entry).some(mayBeProgram) },
});

/** Codes of entries that are refused before any of their content is read. */
const UNOPENED: ReadonlySet<string> = new Set(['zip-bomb', 'zip-entry-too-large']);

async function verifyEntry(passing: Passing, options: VerifyFileOptions): Promise<Found> {
  const { archive, entry, meant } = passing;
  const named = { path: entry.path, ...(meant === true ? { meant } : {}) };
  const spool = new Spool(options.scratch);
  try {
    const { source } = await spool.take(archive, entry);
    return { program: { ...(await verifyAmongOthers(source, options)), ...named } };
  } catch (error) {
    if (!isInvalid(error)) throw error;
    const { code, message } = error;
    if (UNOPENED.has(code)) return unreadEntry(passing, error);
    // A file that only begins like a program is data: report it, and go on.
    return { program: { ...named, status: 'bad', signatures: [], problems: [{ code, message }] } };
  } finally {
    await spool.close();
  }
}

const notAProgram = ({ archive, entry }: Passing): SignpipeError =>
  invalid(
    'not-a-program',
    `${archive.source.name}!/${entry.path}: the patterns name it, but it is no Windows program`,
  );

/** Sees by its first bytes what an entry is, and verifies it if it is a program. */
async function lookInto(passing: Passing, options: VerifyFileOptions): Promise<Found> {
  const { archive, entry, meant } = passing;
  // What a link leads to is judged under its own name.
  if (entry.directory || (entry.symlink && meant !== true)) return null;
  try {
    const head = await archive.head(entry, HEAD_SIZE);
    const kind = recognizeHead(head, entry.path);
    if (kind === 'program') return await verifyEntry(passing, options);
    if (meant === true && !isAppleDouble(entry.path, head)) throw notAProgram(passing);
    return kind === 'zip' ? { nested: entry.path } : null;
  } catch (error) {
    if (!isInvalid(error)) throw error;
    return unreadEntry(passing, error);
  }
}

/** Verifies every program in a zip, other people's among them. Throws if the zip as such is broken. */
export async function verifyZip(source: ByteSource, options: VerifyFileOptions): Promise<ZipReport> {
  const archive = await readZip(source, options.limits);
  const found: [index: number, found: Found][] = [];
  // In the order of the file, which is read quickest so; reported in that of the directory.
  for (const entry of archive.layout) {
    const meant = options.isMeant && !entry.directory ? isOurs(entry, options.isMeant, source.name) : null;
    found.push([entry.index, await lookInto({ archive, entry, meant }, options)]);
  }
  return reportOf(found.sort(([a], [b]) => a - b).map(([, each]) => each));
}

function reportOf(found: readonly Found[]): ZipReport {
  const report = { programs: [] as ProgramReport[], unread: [] as UnreadEntry[], nested: [] as string[] };
  for (const each of found)
    if (each === null) continue;
    else if ('program' in each) report.programs.push(each.program);
    else if ('unread' in each) report.unread.push(each.unread);
    else report.nested.push(each.nested);
  return report;
}

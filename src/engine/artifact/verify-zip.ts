import type { Archive } from '../../lib/zip/read-zip.ts';
import type { ArchiveEntry } from '../../lib/zip/local-headers.ts';
import type { ArchiveLimits } from '../../lib/zip/limits.ts';
import { pathsOf } from '../../lib/zip/entry-paths.ts';
import { isAppleDouble, recognize, recognizeHead } from '../formats/recognize.ts';
import { mayBeProgram } from '../formats/program-names.ts';
import type { VerifyOptions } from '../authenticode/verify.ts';
import { invalid, type SignpipeError, isInvalid } from '../../lib/errors.ts';
import type { ByteSource } from '../../lib/bytes/byte-source.ts';
import { isOurs, type PathFilter } from './globs.ts';
import { readZip } from '../formats/packages.ts';
import { headSizeOf, mayBeSignedScript } from './signed-scripts.ts';
import { Spool } from './unpacked-programs.ts';
import { verifyAmongOthers, type ProgramReport } from './verify-program.ts';

/** An entry that could not be read, or that is not a program though the patterns name it. */
interface UnreadEntry {
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
  /** Paths of zips in the zip; their content was not read. */
  readonly nested: readonly string[];
}

/** What was found in one entry; null if it is irrelevant here. */
type EntryReport = { program: ProgramReport } | { unread: UnreadEntry } | { nested: string } | null;

interface EntryToVerify {
  readonly archive: Archive;
  readonly entry: ArchiveEntry;
  /** Whether the patterns match it; null if there are none. */
  readonly meant: boolean | null;
}

/** Since its content is unknown, the patterns decide whether an entry must be good, or else its name. */
const unreadEntry = ({ entry, meant }: EntryToVerify, { code, message }: SignpipeError): EntryReport => ({
  unread: { path: entry.path, code, message, suspect: meant ?? pathsOf(entry).some(mayBeProgram) },
});

/** Codes of entries that are refused before any of their content is read. */
const UNOPENED: ReadonlySet<string> = new Set(['zip-bomb', 'zip-entry-too-large']);

async function verifyEntry(each: EntryToVerify, options: VerifyFileOptions): Promise<EntryReport> {
  const { archive, entry, meant } = each;
  const entryFields = { path: entry.path, ...(meant === true ? { meant } : {}) };
  const spool = new Spool(options.scratch);
  try {
    const { source } = await spool.unpack(archive, entry);
    const kind = await recognize(source);
    if (kind !== 'program') return kind === 'zip' ? { nested: entry.path } : noProgram(each);
    return { program: { ...(await verifyAmongOthers(source, options)), ...entryFields } };
  } catch (error) {
    if (!isInvalid(error)) throw error;
    const { code, message } = error;
    if (UNOPENED.has(code)) return unreadEntry(each, error);
    // A file that only begins like a program is data: report it, and go on.
    return { program: { ...entryFields, status: 'bad', signatures: [], problems: [{ code, message }] } };
  } finally {
    await spool.close();
  }
}

const notAProgram = ({ archive, entry }: EntryToVerify): SignpipeError =>
  invalid(
    'not-a-program',
    `${archive.source.name}!/${entry.path}: the patterns name it, but it is no file that can be signed`,
  );

/** The report on an entry that only turned out to be no program when it was unpacked. */
function noProgram(each: EntryToVerify): EntryReport {
  if (each.meant === true) throw notAProgram(each);
  return null;
}

/** Recognises an entry by its first bytes, and verifies it if it is a program. */
async function reportOn(each: EntryToVerify, options: VerifyFileOptions): Promise<EntryReport> {
  const { archive, entry, meant } = each;
  // The target of a link is judged under its own name.
  if (entry.directory || (entry.symlink && meant !== true)) return null;
  try {
    const head = await archive.head(entry, headSizeOf(entry));
    const kind = recognizeHead(head, entry.path);
    if (kind === 'program' || kind === 'unsure') return await verifyEntry(each, options);
    if (kind === 'named') return await reportOnScript(each, head, options);
    if (meant === true && !isAppleDouble(entry.path, head)) throw notAProgram(each);
    return kind === 'zip' ? { nested: entry.path } : null;
  } catch (error) {
    if (!isInvalid(error)) throw error;
    return unreadEntry(each, error);
  }
}

/** Scripts are everywhere and usually not signed: one without a signature is reported only if the patterns name it. */
async function reportOnScript(
  each: EntryToVerify,
  head: Buffer,
  options: VerifyFileOptions,
): Promise<EntryReport> {
  const { archive, entry, meant } = each;
  if (meant === true) return isAppleDouble(entry.path, head) ? null : verifyEntry(each, options);
  if (!(await mayBeSignedScript(archive, entry, head))) return null;
  const report = await verifyEntry(each, options);
  return report && 'program' in report && report.program.status === 'unsigned' ? null : report;
}

/** Verifies every program in a zip, also those of others. Throws if the zip itself is broken. */
export async function verifyZip(source: ByteSource, options: VerifyFileOptions): Promise<ZipReport> {
  const archive = await readZip(source, options.limits);
  const reports: [index: number, report: EntryReport][] = [];
  // In the order of the file, which is read fastest so; reported in the order of the directory.
  for (const entry of archive.layout) {
    const meant = options.isMeant && !entry.directory ? isOurs(entry, options.isMeant, source.name) : null;
    reports.push([entry.index, await reportOn({ archive, entry, meant }, options)]);
  }
  return zipReport(reports.sort(([a], [b]) => a - b).map(([, report]) => report));
}

function zipReport(reports: readonly EntryReport[]): ZipReport {
  const result = { programs: [] as ProgramReport[], unread: [] as UnreadEntry[], nested: [] as string[] };
  for (const report of reports)
    if (report === null) continue;
    else if ('program' in report) result.programs.push(report.program);
    else if ('unread' in report) result.unread.push(report.unread);
    else result.nested.push(report.nested);
  return result;
}

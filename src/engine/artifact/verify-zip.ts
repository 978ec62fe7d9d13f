import type { Archive } from '../../lib/zip/read-zip.ts';
import type { ArchiveEntry } from '../../lib/zip/local-headers.ts';
import { pathsOf } from '../../lib/zip/entry-paths.ts';
import { isAppleDouble, recognize, recognizeHead } from '../formats/recognize.ts';
import { mayBeProgram } from '../formats/program-names.ts';
import { type SignpipeError, isInvalid } from '../../lib/errors.ts';
import type { ByteSource } from '../../lib/bytes/byte-source.ts';
import { isOurs } from './globs.ts';
import { Budget, Descent } from './inside/descent.ts';
import {
  InsideVerifier,
  notAProgram,
  type ContentReport,
  type VerifyFileOptions,
} from './inside/verify-inside.ts';
import { readZip } from '../formats/packages.ts';
import { headSizeOf, mayBeSignedScript } from './signed-scripts.ts';
import { Spool } from './unpacked-programs.ts';

/** What was found in one entry; null if it is irrelevant here. */
type EntryReport = ContentReport | null;

interface EntryToVerify {
  readonly archive: Archive;
  readonly entry: ArchiveEntry;
  /** Whether the patterns match it; null if there are none. */
  readonly meant: boolean | null;
}

/** Since its content is unknown, the patterns decide whether an entry must be good, or else its name. */
const unreadEntry = ({ entry, meant }: EntryToVerify, { code, message }: SignpipeError): EntryReport => ({
  ...NOTHING,
  unread: [{ path: entry.path, code, message, suspect: meant ?? pathsOf(entry).some(mayBeProgram) }],
});

const NOTHING: ContentReport = { programs: [], unread: [], unsignedInside: [] };

/** Codes of entries that are refused before any of their content is read. */
const UNOPENED: ReadonlySet<string> = new Set(['zip-bomb', 'zip-entry-too-large']);

async function verifyEntry(
  each: EntryToVerify,
  options: VerifyFileOptions,
  budget: Budget,
): Promise<EntryReport> {
  const { archive, entry, meant } = each;
  const spool = new Spool(options.scratch);
  try {
    const { source } = await spool.unpack(archive, entry);
    const kind = await recognize(source);
    if (kind === null) return noProgram(each);
    const verifier = new InsideVerifier(options, new Descent(budget, spool));
    await verifier[kind](source, { path: entry.path });
    return verifier;
  } catch (error) {
    if (!isInvalid(error)) throw error;
    const { code, message } = error;
    if (UNOPENED.has(code)) return unreadEntry(each, error);
    // A file that only begins like a program is data: report it, and go on.
    const entryFields = { path: entry.path, ...(meant === true ? { meant } : {}) };
    const bad = { ...entryFields, status: 'bad', signatures: [], problems: [{ code, message }] } as const;
    return { ...NOTHING, programs: [bad] };
  } finally {
    await spool.close();
  }
}

/** The report on an entry that only turned out to be no program when it was unpacked. */
function noProgram(each: EntryToVerify): EntryReport {
  if (each.meant === true) throw notAProgram(`${each.archive.source.name}!/${each.entry.path}`);
  return null;
}

/** Recognises an entry by its first bytes, and verifies it if it is a program, or what is inside of it. */
async function reportOn(
  each: EntryToVerify,
  options: VerifyFileOptions,
  budget: Budget,
): Promise<EntryReport> {
  const { archive, entry, meant } = each;
  // The target of a link is judged under its own name.
  if (entry.directory || (entry.symlink && meant !== true)) return null;
  try {
    const head = await archive.head(entry, headSizeOf(entry));
    const kind = recognizeHead(head, entry.path);
    if (kind === 'named') return await reportOnScript(each, head, options, budget);
    if (kind !== null) return await verifyEntry(each, options, budget);
    return meant === true && !isAppleDouble(entry.path, head) ? noProgram(each) : null;
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
  budget: Budget,
): Promise<EntryReport> {
  const { archive, entry, meant } = each;
  if (meant === true) return isAppleDouble(entry.path, head) ? null : verifyEntry(each, options, budget);
  return (await mayBeSignedScript(archive, entry, head)) ? verifyEntry(each, options, budget) : null;
}

/** Verifies every program in a zip and in the containers in it, also those of others. Throws if the zip itself is broken. */
export async function verifyZip(source: ByteSource, options: VerifyFileOptions): Promise<ContentReport> {
  const archive = await readZip(source, options.limits);
  const budget = new Budget(options.limits, source.size);
  const reports: [index: number, report: EntryReport][] = [];
  // In the order of the file, which is read fastest so; reported in the order of the directory.
  for (const entry of archive.layout) {
    const meant = options.isMeant && !entry.directory ? isOurs(entry, options.isMeant, source.name) : null;
    reports.push([entry.index, await reportOn({ archive, entry, meant }, options, budget)]);
  }
  const sorted = reports.sort(([a], [b]) => a - b).map(([, report]) => report ?? NOTHING);
  return {
    programs: sorted.flatMap(({ programs }) => programs),
    unread: sorted.flatMap(({ unread }) => unread),
    unsignedInside: sorted.flatMap(({ unsignedInside }) => unsignedInside),
  };
}

import { readArchive, type Archive, type ArchiveEntry, type ArchiveLimits } from '../archive/read.ts';
import { HEAD_SIZE, isSignable } from '../authenticode/image.ts';
import type { VerifyReport } from '../authenticode/report.ts';
import { verifyProgram, type VerifyOptions } from '../authenticode/verify.ts';
import { SignpipeError } from '../errors.ts';
import type { ByteSource } from '../io/source.ts';
import { Spool } from './spool.ts';

/** One program. In a zip, other people's programs lie beside ours. */
export interface ProgramReport extends VerifyReport {
  /** Its signatures hold, and none of them leads to the roots that were given: somebody else's program. */
  readonly stranger?: true;
}

export interface VerifyFileOptions extends VerifyOptions {
  readonly limits: ArchiveLimits;
  readonly scratch: string;
}

/**
 * With roots, tells a program whose signatures all lead elsewhere from one whose signature is broken. One that
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

/** Methods whose bytes we can see: stored and deflated. Others cannot be looked into, and nothing of ours has them. */
const READABLE_METHODS: ReadonlySet<number> = new Set([0, 8]);

async function verifyEntry(
  archive: Archive,
  entry: ArchiveEntry,
  options: VerifyFileOptions,
): Promise<ProgramReport | null> {
  if (
    entry.directory ||
    !READABLE_METHODS.has(entry.method) ||
    !isSignable(await archive.head(entry, HEAD_SIZE))
  )
    return null;
  const spool = new Spool(options.scratch);
  try {
    const { source } = await spool.take(archive, entry);
    return { ...(await verifyAmongOthers(source, options)), path: entry.path };
  } catch (error) {
    // A file that only begins like a program is somebody's data: say so, and go on.
    if (!(error instanceof SignpipeError) || error.kind !== 'invalid') throw error;
    return {
      path: entry.path,
      status: 'bad',
      signatures: [],
      problems: [{ code: error.code, message: error.message }],
    };
  } finally {
    await spool.close();
  }
}

/** Verifies every program in a zip, other people's among them. */
export async function verifyZip(source: ByteSource, options: VerifyFileOptions): Promise<ProgramReport[]> {
  const archive = await readArchive(source, options.limits);
  const reports: [index: number, report: ProgramReport][] = [];
  // In the order of the file, which is read quickest so; reported in that of the directory.
  for (const entry of archive.layout) {
    const report = await verifyEntry(archive, entry, options);
    if (report) reports.push([entry.index, report]);
  }
  return reports.sort(([a], [b]) => a - b).map(([, report]) => report);
}

import type { VerifyStatus } from '../authenticode/report.ts';
import { invalid } from '../../lib/errors.ts';
import { inMemoryIfSmall, withFile, type ByteSource } from '../../lib/bytes/byte-source.ts';
import { fileKindOf } from '../formats/recognize.ts';
import type { ContentReport, VerifyFileOptions } from './inside/verify-inside.ts';
import { openAndVerify, type ProgramReport } from './verify-program.ts';

/** The report on one file: a zip or a program. */
export interface FileReport extends ContentReport {
  readonly path: string;
  /** `other`: neither a zip nor a program, with nothing to verify in it; only of files that have provenance. */
  readonly kind: 'zip' | 'program' | 'other';
  /**
   * `bad` if any program is, also inside of containers, or if something that may be a program could not be read. A zip
   * with a program that is `ok` is `ok`, even if others in it are unsigned or signed by others: only the caller knows who
   * must have signed what. Of a program that is not in a zip, it is that of the program itself.
   */
  readonly status: VerifyStatus;
  /** Of a program that is not in a zip, first itself; then those inside of it. Those of a zip have their path in it. */
  readonly programs: readonly ProgramReport[];
}

function overall({ programs, unread }: ContentReport): VerifyStatus {
  if (unread.some(({ suspect }) => suspect)) return 'bad';
  const statuses = new Set(programs.map((each) => each.status));
  return (['bad', 'ok', 'intact', 'unsigned'] as const).find((status) => statuses.has(status)) ?? 'unsigned';
}

/**
 * Verifies a program, or every program in a zip. Broken files throw `invalid` errors. `name` is the file's real name,
 * if it has a temporary one: it helps to recognise the file, and messages use it.
 */
export async function verifyFile(path: string, options: VerifyFileOptions, name = path): Promise<FileReport> {
  const verify = async (file: ByteSource): Promise<FileReport> => {
    const source = await inMemoryIfSmall(file);
    const kind = await fileKindOf(source);
    if (kind === 'zip') {
      const { verifyZip } = await import('./verify-zip.ts');
      const report = await verifyZip(source, options);
      return { path, kind: 'zip', status: overall(report), ...report };
    }
    if (kind === null) throw invalid('not-signable', `${name}: neither a zip nor a file that can be signed`);
    const report = await verifyLone(source, options);
    const [itself] = report.programs;
    const status = overall(report) === 'bad' ? 'bad' : (itself?.status ?? 'unsigned');
    return { path, kind: 'program', status, ...report };
  };
  return withFile(path, verify, name);
}

/** Verifies a program that is not in a zip, and what is inside of it. */
async function verifyLone(source: ByteSource, options: VerifyFileOptions): Promise<ContentReport> {
  const { report, file } = await openAndVerify(source, options);
  const alone = { programs: [report], unread: [], unsignedInside: [] };
  if (!file?.container) return alone;
  // Loaded only here: for a program that is no container it would take a good part of the time.
  const { verifyInside } = await import('./inside/verify-lone-container.ts');
  const inside = await verifyInside(file, report.signatures.length > 0, options);
  return { ...inside, programs: [report, ...inside.programs] };
}

import type { VerifyStatus } from '../authenticode/report.ts';
import { invalid } from '../../lib/errors.ts';
import { inMemoryIfSmall, withFile } from '../../lib/bytes/byte-source.ts';
import { fileKindOf } from '../formats/recognize.ts';
import { verifyProgram, type ProgramReport } from './verify-program.ts';
import type { VerifyFileOptions, ZipReport } from './verify-zip.ts';

/** What was found in one file: in a zip, or in the one program. */
export interface FileReport extends ZipReport {
  readonly path: string;
  readonly kind: 'zip' | 'program';
  /**
   * `bad` when any program is, or when something could not be read that may be one. Other people's programs in a
   * zip, unsigned or signed by others, do not count against the ones that are `ok`: who must have signed what, the
   * caller knows.
   */
  readonly status: VerifyStatus;
  /** One a program; a zip's bear their path inside it. */
  readonly programs: readonly ProgramReport[];
}

function overall({ programs, unread }: ZipReport): VerifyStatus {
  if (unread.some(({ suspect }) => suspect)) return 'bad';
  const among = new Set(programs.map((each) => each.status));
  return (['bad', 'ok', 'intact', 'unsigned'] as const).find((status) => among.has(status)) ?? 'unsigned';
}

/**
 * Verifies a program, or every program in a zip, recognised by content. Broken files throw `invalid`. `name` is
 * what the file is called if it lies under another name for now.
 */
export async function verifyFile(path: string, options: VerifyFileOptions, name = path): Promise<FileReport> {
  return withFile(path, async (file) => {
    const source = await inMemoryIfSmall(file);
    const kind = await fileKindOf(source, name);
    if (kind === 'zip') {
      const { verifyZip } = await import('./verify-zip.ts');
      const report = await verifyZip(source, options);
      return { path, kind: 'zip', status: overall(report), ...report };
    }
    if (kind === null) throw invalid('not-signable', `${path}: neither a zip nor a Windows program`);
    const report = await verifyProgram(source, options);
    return { path, kind: 'program', status: report.status, programs: [report], unread: [], nested: [] };
  });
}

import type { VerifyStatus } from '../authenticode/report.ts';
import { verifyProgram } from '../authenticode/verify.ts';
import { invalid } from '../errors.ts';
import { atHand, withFile } from '../io/source.ts';
import { fileKindOf } from './file-kind.ts';
import type { ProgramReport, VerifyFileOptions } from './verify-zip.ts';

export type { ProgramReport } from './verify-zip.ts';

/** What was found in one file: the programs of a zip, or the one program. */
export interface FileReport {
  readonly path: string;
  readonly kind: 'zip' | 'program';
  /**
   * `bad` when any program is. Other people's programs in a zip, unsigned or signed by strangers,
   * do not count against the ones that are `ok`: who must have signed what, the caller knows.
   */
  readonly status: VerifyStatus;
  /** One a program; a zip's bear their path inside it. */
  readonly programs: readonly ProgramReport[];
}

function overall(programs: readonly ProgramReport[]): VerifyStatus {
  const among = new Set(programs.map((each) => each.status));
  return (['bad', 'ok', 'intact', 'unsigned'] as const).find((status) => among.has(status)) ?? 'unsigned';
}

/**
 * Verifies a program, or every program in a zip, recognised by content. Broken files throw `invalid`. `name` is
 * what the file is called if it lies under another name for now.
 */
export async function verifyFile(path: string, options: VerifyFileOptions, name = path): Promise<FileReport> {
  return withFile(path, async (file) => {
    const source = await atHand(file);
    const kind = await fileKindOf(source, name);
    if (kind === 'zip') {
      const { verifyZip } = await import('./verify-zip.ts');
      const programs = await verifyZip(source, options);
      return { path, kind: 'zip', status: overall(programs), programs };
    }
    if (kind === null) throw invalid('not-signable', `${path}: neither a zip nor a Windows program`);
    const report = await verifyProgram(source, options);
    return { path, kind: 'program', status: report.status, programs: [report] };
  });
}

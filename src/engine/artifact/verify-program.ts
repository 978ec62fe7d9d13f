import { isInvalid } from '../../lib/errors.ts';
import type { ByteSource } from '../../lib/bytes/byte-source.ts';
import type { VerifyProblem, VerifyReport } from '../authenticode/report.ts';
import { verifySignableFile, type VerifyOptions } from '../authenticode/verify.ts';
import { openSignableFile } from '../formats/recognize.ts';
import type { SignableFile } from '../formats/signable-file.ts';

/** A program and its report; no file if it cannot be opened. */
interface VerifiedProgram {
  readonly report: ProgramReport;
  readonly file: SignableFile | null;
}

/**
 * Opens a program and verifies every Authenticode signature in it; see `verifySignableFile`. Headers that cannot be
 * read make a bad program (`status: 'bad'`), not an error; throws `not-signable` if the file is not a program.
 */
export async function openAndVerify(
  source: ByteSource,
  options: VerifyOptions = {},
): Promise<VerifiedProgram> {
  const file = await openOrProblem(source);
  if (!('source' in file)) return { report: unreadable(source, file), file: null };
  return { report: await verifySignableFile(file, options), file };
}

/** The report of `openAndVerify`. */
export const verifyProgram = async (source: ByteSource, options: VerifyOptions = {}): Promise<VerifyReport> =>
  (await openAndVerify(source, options)).report;

/** One program. In a zip, programs of others lie beside ours; its path is that in the innermost container. */
export interface ProgramReport extends VerifyReport {
  /** The containers that were opened to reach it, outermost first; left out if there are none. */
  readonly inside?: readonly string[] | undefined;
  /** Its signatures are valid, and none leads to the roots that were given: another signer's program. */
  readonly stranger?: true;
  /** The patterns match it: it must be good. */
  readonly meant?: true;
}

/**
 * Verifies a program as `verifyProgram` does. If roots are given, a program whose signatures are valid but all lead
 * elsewhere is another signer's, not bad. A program with a signature that leads to the roots beside one that does not
 * is bad: others added theirs to a program of ours.
 */
export async function verifyAmongOthers(
  source: ByteSource,
  options: VerifyOptions,
): Promise<VerifiedProgram> {
  const file = await openOrProblem(source);
  if (!('source' in file)) return { report: unreadable(source, file), file: null };
  return { report: await verifyFileAmongOthers(file, options), file };
}

async function verifyFileAmongOthers(file: SignableFile, options: VerifyOptions): Promise<ProgramReport> {
  const report = await verifySignableFile(file, options);
  const ours = report.signatures.some(({ trusted }) => trusted === true);
  if (report.status !== 'bad' || !options.roots || ours) return report;
  const { roots: _roots, timestampRoots: _timestampRoots, ...withoutRoots } = options;
  const alone = await verifySignableFile(file, withoutRoots);
  return alone.status === 'intact' ? { ...alone, stranger: true } : report;
}

const unreadable = ({ name }: ByteSource, problem: VerifyProblem): VerifyReport => ({
  path: name,
  status: 'bad',
  signatures: [],
  problems: [problem],
});

async function openOrProblem(source: ByteSource): Promise<SignableFile | VerifyProblem> {
  try {
    return await openSignableFile(source);
  } catch (error) {
    if (!isInvalid(error) || error.code === 'not-signable') throw error;
    return { code: error.code, message: error.message };
  }
}

import { isInvalid } from '../../lib/errors.ts';
import type { ByteSource } from '../../lib/bytes/byte-source.ts';
import type { VerifyProblem, VerifyReport } from '../authenticode/report.ts';
import { verifySignableFile, type VerifyOptions } from '../authenticode/verify.ts';
import { openSignableFile } from '../formats/recognize.ts';
import type { SignableFile } from '../formats/signable-file.ts';

/**
 * Opens a program and verifies every Authenticode signature in it; see `verifySignableFile`. Headers that cannot be
 * read make a bad program (`status: 'bad'`), not an error; throws `not-signable` if the file is no program.
 */
export async function verifyProgram(source: ByteSource, options: VerifyOptions = {}): Promise<VerifyReport> {
  const file = await openOrProblem(source);
  if ('source' in file) return verifySignableFile(file, options);
  return { path: source.name, status: 'bad', signatures: [], problems: [file] };
}

async function openOrProblem(source: ByteSource): Promise<SignableFile | VerifyProblem> {
  try {
    return await openSignableFile(source);
  } catch (error) {
    if (!isInvalid(error) || error.code === 'not-signable') throw error;
    return { code: error.code, message: error.message };
  }
}

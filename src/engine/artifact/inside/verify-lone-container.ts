import type { SignableFile } from '../../formats/signable-file.ts';
import { Spool } from '../unpacked-programs.ts';
import { Budget, Descent } from './descent.ts';
import { InsideVerifier, type ContentReport, type VerifyFileOptions } from './verify-inside.ts';

/** Verifies what is inside of a container that is not in a zip. */
export async function verifyInside(
  file: SignableFile,
  isSigned: boolean,
  options: VerifyFileOptions,
): Promise<ContentReport> {
  const { source } = file;
  const spool = new Spool(options.scratch);
  try {
    const verifier = new InsideVerifier(options, new Descent(new Budget(options.limits, source.size), spool));
    await verifier.lookInto({ source, file }, { path: '' }, isSigned);
    return verifier;
  } finally {
    await spool.close();
  }
}

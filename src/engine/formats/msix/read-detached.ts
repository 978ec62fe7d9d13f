import { readWithoutFile } from '../../authenticode/signature-without-file.ts';
import type { SignatureWithoutFile } from '../signable-file.ts';
import { readDetached } from './detached.ts';
import { readPackageContent } from './digests.ts';

/** Reads the detached signature of a package or bundle without the file; see `FileFormat.readDetached`. */
export function readDetachedMsix(bytes: Buffer, what: string): SignatureWithoutFile[] {
  const { signature } = readDetached(bytes, what);
  return readWithoutFile(signature, what, {
    readContent: (content) => readPackageContent(content, null, what),
  });
}

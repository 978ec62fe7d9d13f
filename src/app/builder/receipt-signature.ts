import {
  verifyCommitSignature,
  type CommitSignature,
  type CommitVerifyOptions,
} from '../../lib/git/commit-signature.ts';
import { SignpipeError } from '../../lib/errors.ts';
import type { AllowedSigners } from '../../lib/sshsig/allowed-signers.ts';

/** What a reader of receipts can do, by error code: the hints of `verifyCommitSignature` are for readers of requests. */
const HINTS: ReadonlyMap<string, string> = new Map([
  [
    'commit-signer-unknown',
    "do not use what it delivered. If the signer's operator confirms a new receipt key by another channel, add its line to that list",
  ],
  [
    'commit-signer-expired',
    "do not use what it delivered; ask the signer's operator for the line of the present receipt key",
  ],
  [
    'commit-signer-revoked',
    "do not use what it delivered; ask the signer's operator for the line of the present receipt key",
  ],
]);

/** Who signed a receipt, according to the builder's own list. Throws as `verifyCommitSignature` does, with hints for builders. */
export function verifyReceiptSignature(
  raw: Buffer,
  allowed: AllowedSigners,
  options: CommitVerifyOptions = {},
): CommitSignature {
  try {
    return verifyCommitSignature(raw, allowed, options);
  } catch (error) {
    const hint = error instanceof SignpipeError ? HINTS.get(error.code) : undefined;
    if (!(error instanceof SignpipeError) || hint === undefined) throw error;
    throw error.saying(`the receipt: ${error.message}`, hint);
  }
}

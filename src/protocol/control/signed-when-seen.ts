import { isRefused, type SignpipeError } from '../../lib/errors.ts';
import {
  verifyCommitSignature,
  type CommitSignature,
  type CommitSigners,
} from '../../lib/git/commit-signature.ts';
import type { Commit } from '../../lib/git/objects.ts';

/** When keys have to be valid, besides the time that a commit states. */
export interface SeenOptions {
  /** Now, unless given. */
  now?: Date;
  /** When a commit was first seen, if that is known. */
  firstSeen?: (commit: string) => Promise<Date | null>;
}

/** Who signed, or the refusal if the commit is unsigned, wrongly signed, or signed by a key that is not allowed. */
export function signatureAt(raw: Buffer, allowed: CommitSigners, now: Date): CommitSignature | SignpipeError {
  try {
    return verifyCommitSignature(raw, allowed, { now });
  } catch (error) {
    if (isRefused(error)) return error;
    throw error;
  }
}

/**
 * Who signed a commit, with a key that is valid now or was when the commit was first seen; else the refusal. So what a
 * commit decided stays decided when its key expires, but not if the key is revoked.
 */
export async function signatureWhenSeen(
  { id, raw }: Pick<Commit, 'id' | 'raw'>,
  allowed: CommitSigners,
  { now = new Date(), firstSeen }: SeenOptions,
): Promise<CommitSignature | SignpipeError> {
  const signature = signatureAt(raw, allowed, now);
  if (!('code' in signature) || signature.code !== 'commit-signer-expired') return signature;
  const firstSeenAt = await firstSeen?.(id);
  return firstSeenAt ? signatureAt(raw, allowed, firstSeenAt) : signature;
}

import { verifyCommitSignature } from '../../lib/git/commit-signature.ts';
import { readPolicy, type PublishedPolicy } from '../../protocol/control/published-policy.ts';
import type { ControlRepository } from '../../protocol/control/repository.ts';
import { isRefused } from '../../lib/errors.ts';
import { AllowedSigners } from '../../lib/sshsig/allowed-signers.ts';

/** The policy in the commit `tip` of the receipt branch, or null if there is none. Throws unless a trusted receipt key signed it. */
export async function trustedPolicy(
  repository: ControlRepository,
  tip: string | null,
  receiptSigners: AllowedSigners,
): Promise<PublishedPolicy | null> {
  if (tip === null) return null;
  const commit = await repository.readCommit(tip);
  verifyCommitSignature(commit.raw, receiptSigners);
  return readPolicy(repository, commit);
}

/**
 * The signer's policy, for defaults and warnings; null unless a receipt key that is trusted here signed it. A voucher
 * need not trust any key. `receipts` is the tip of the receipt branch.
 */
export async function publishedPolicy(
  repository: ControlRepository,
  receipts: string | null,
  trust: { readonly allowedSigners: string } | undefined,
): Promise<PublishedPolicy | null> {
  if (!trust) return null;
  try {
    return await trustedPolicy(repository, receipts, await AllowedSigners.load(trust.allowedSigners));
  } catch (error) {
    if (isRefused(error)) return null;
    throw error;
  }
}

import { channelIn } from '../../protocol/control/published-policy.ts';
import { readSignedPolicy, type PublishedPolicy } from '../../protocol/control/published-policy.ts';
import type { ControlRepository, Heads } from '../../protocol/control/repository.ts';
import { isRefused } from '../../lib/errors.ts';
import { AllowedSigners } from '../../lib/sshsig/allowed-signers.ts';
import type { BuilderSession } from './session.ts';

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
    return await readSignedPolicy(repository, receipts, await AllowedSigners.load(trust.allowedSigners));
  } catch (error) {
    if (isRefused(error)) return null;
    throw error;
  }
}

/** What the signer publishes about a channel; undefined if no trusted policy has it. Only a convenience: the signer decides. */
export async function publishedChannel(
  { repository, config }: Pick<BuilderSession, 'repository' | 'config'>,
  { receipts }: Heads,
  channel = 'default',
): Promise<PublishedPolicy['channels'][string] | undefined> {
  return channelIn(await publishedPolicy(repository, receipts, config.trust), channel);
}

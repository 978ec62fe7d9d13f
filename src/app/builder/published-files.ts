import { DEFAULT_FILES } from '../../engine/formats/program-names.ts';
import { channelIn } from '../../protocol/control/published-policy.ts';
import type { Heads } from '../../protocol/control/repository.ts';
import { publishedPolicy } from './trusted-policy.ts';
import type { BuilderSession } from './session.ts';

/**
 * Which entries of a zip the signer takes for its own on a channel: `signing.files` in its published policy, or
 * what that is by default if no trusted policy says so. Only a convenience: the signer refuses a request that
 * pins other entries.
 */
export async function publishedFiles(
  { repository, config }: BuilderSession,
  { receipts }: Heads,
  channel = 'default',
): Promise<readonly string[]> {
  const policy = await publishedPolicy(repository, receipts, config.trust);
  return channelIn(policy, channel)?.files ?? DEFAULT_FILES;
}

import { DEFAULT_FILES } from '../authenticode/program-names.ts';
import { channelIn } from '../control/published-policy.ts';
import type { Heads } from '../control/repository.ts';
import { SignpipeError } from '../errors.ts';
import { trustedPolicy } from './control-root.ts';
import { receiptSigners, type BuilderSession } from './session.ts';

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
  try {
    const policy = await trustedPolicy(repository, receipts, await receiptSigners(config));
    return channelIn(policy, channel)?.files ?? DEFAULT_FILES;
  } catch (error) {
    if (error instanceof SignpipeError && (error.kind === 'invalid' || error.kind === 'not-allowed'))
      return DEFAULT_FILES;
    throw error;
  }
}

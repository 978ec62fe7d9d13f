import { SignpipeError } from '../../../lib/errors.ts';
import { requireUsable } from '../../../engine/keys/signing-key.ts';
import type { Channel } from './channel.ts';
import type { UnmetPrecondition } from './unmet-precondition.ts';

/**
 * Why a request waits for its channel's certificate: it has expired or is not valid yet, or the successor, whose time has
 * come, cannot be opened. Null if the key can sign now.
 */
export function checkKey(channel: Pick<Channel, 'key' | 'keyProblem'>, now: Date): UnmetPrecondition | null {
  try {
    if (channel.keyProblem) throw channel.keyProblem;
    requireUsable(channel.key, now);
    return null;
  } catch (error) {
    if (!(error instanceof SignpipeError)) throw error;
    const { code, message, hint } = error;
    return { met: false, code, why: `${message} [${code}]; ${hint ?? 'run signpipe doctor'}` };
  }
}

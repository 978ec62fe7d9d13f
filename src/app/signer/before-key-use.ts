import { isDeepStrictEqual } from 'node:util';
import type { Heads } from '../../protocol/control/repository.ts';
import type { Request } from '../../protocol/control/request.ts';
import type { Vouch } from '../../protocol/control/vouch.ts';
import type { SigningKey } from '../../engine/keys/signing-key.ts';
import type { Channel } from './channel.ts';
import { unmet, type UnmetPrecondition } from './unmet-precondition.ts';
import { checkPreconditions } from './preconditions.ts';
import { judge } from './policy.ts';
import type { SignerContext } from './signer-context.ts';

/** The oldest that heads may be when the key is used, in milliseconds. */
const FRESH_MS = 1000;
/** Looks at branches that move while their history is judged, before the request waits for the next poll. */
const MOST_LOOKS = 5;

/** A gate closed before the key was used: the request waits, and this is no answer. */
export class UnmetPreconditionError extends Error {
  constructor(readonly unmet: UnmetPrecondition) {
    super(unmet.why);
  }
}

/** Where the branches stand could not be asked before the key was used; `cause` is why. No fault of the request. */
export class HeadsUnknown extends Error {}

/** What is to be asked again. */
export interface Asked {
  readonly request: Request;
  readonly channel: Channel;
  /** When this signer first saw the request. */
  readonly seen: Date;
}

/**
 * Asks all gates directly before the key is used: since the request was taken up, its files were fetched, which takes
 * as long as it takes, and a HOLD or an objection counts until the first signature is made. The heads are asked of
 * the Git host again, and if judging what is new took longer than they may be old, once more. Returns the vouches
 * that count. Throws `UnmetPreconditionError`, `HeadsUnknown`, alarms, and whatever `judge` and `checkPreconditions` refuse.
 */
export async function checkBeforeKeyUse(
  context: SignerContext,
  { request, channel, seen }: Asked,
  headsNow: () => Promise<Heads>,
): Promise<readonly Vouch[]> {
  let judged: { heads: Heads; vouches: readonly Vouch[] } | undefined;
  for (let looks = 0; looks < MOST_LOOKS; looks += 1) {
    const asked = performance.now();
    const heads = await headsNow().catch((cause: unknown) => {
      throw new HeadsUnknown('where the branches stand could not be asked', { cause });
    });
    if (judged && isDeepStrictEqual(judged.heads, heads)) return judged.vouches;
    await context.lists.refresh();
    const current = context.channels.get(channel.config.name) ?? channel;
    const requester = judge(request, current, context.now());
    const checked = await checkPreconditions(context, current, request, requester, heads, seen);
    if (!checked.met) throw new UnmetPreconditionError(checked);
    if (performance.now() - asked <= FRESH_MS) return checked.vouches;
    judged = { heads, vouches: checked.vouches };
  }
  throw new UnmetPreconditionError(unmet('the control repository moves faster than it can be judged'));
}

/** A key that awaits `gate` once, before it is first used. */
export function keyWithCheck(key: SigningKey, gate: () => Promise<void>): SigningKey {
  let asked: Promise<void> | undefined;
  return {
    certificates: key.certificates,
    algorithm: key.algorithm,
    sign: async (hash, data) => {
      await (asked ??= gate());
      return key.sign(hash, data);
    },
    close: () => key.close(),
  };
}

import { isDeepStrictEqual } from 'node:util';
import type { Heads } from '../../../protocol/control/repository.ts';
import type { Vouch } from '../../../protocol/control/vouch.ts';
import { unmet, type UnmetPrecondition } from '../channel/unmet-precondition.ts';
import type { PermittedRequest } from './permitted-request.ts';
import { readOperatorHold } from '../state/operator-hold.ts';
import { checkPreconditions } from './preconditions.ts';
import { judge } from './policy.ts';
import type { SignerContext } from '../context/signer-context.ts';

/** The greatest age of the heads when the key is used, in milliseconds. */
const FRESH_MS = 1000;
/** How often moving branches are judged again before the request waits for the next poll. */
const MOST_TRIES = 5;

/** A precondition is no longer met just before the key would be used: the request waits. */
export class UnmetPreconditionError extends Error {
  constructor(readonly unmet: UnmetPrecondition) {
    super(unmet.why);
  }
}

/** The heads could not be fetched just before the key would be used; `cause` is why. Not the request's fault. */
export class HeadsUnknown extends Error {}

/** Whether something on this machine changed that heads do not show: a list of keys, or a HOLD of the operator. */
async function changedHere({ lists, config }: SignerContext): Promise<boolean> {
  const changed = await lists.refresh();
  return changed.length > 0 || (await readOperatorHold(config.state)) !== null;
}

/**
 * Checks all preconditions again just before the key is used: fetching the files took time, and a HOLD or an
 * objection counts until the first signature is made. The heads are fetched again, and once more if judging them took
 * longer than they may be old. Returns the vouches that count. Throws `UnmetPreconditionError`, `HeadsUnknown`, alarms,
 * and the refusals of `judge` and `checkPreconditions`.
 */
export async function checkBeforeKeyUse(
  context: SignerContext,
  { request, channel, seen }: Omit<PermittedRequest, 'requester'>,
  headsNow: () => Promise<Heads>,
): Promise<readonly Vouch[]> {
  let judged: { heads: Heads; vouches: readonly Vouch[] } | undefined;
  for (let tries = 0; tries < MOST_TRIES; tries += 1) {
    const askedAt = performance.now();
    const heads = await headsNow().catch((cause: unknown) => {
      throw new HeadsUnknown('the heads could not be fetched', { cause });
    });
    const changed = await changedHere(context);
    if (judged && !changed && isDeepStrictEqual(judged.heads, heads)) return judged.vouches;
    const current = context.channels.get(channel.config.name) ?? channel;
    const requester = judge(request, current, context.now());
    const checked = await checkPreconditions(context, { request, channel: current, requester, seen }, heads);
    if (!checked.met) throw new UnmetPreconditionError(checked);
    if (performance.now() - askedAt <= FRESH_MS) return checked.vouches;
    judged = { heads, vouches: checked.vouches };
  }
  throw new UnmetPreconditionError(
    unmet('signer', 'the control repository changes faster than it can be judged'),
  );
}

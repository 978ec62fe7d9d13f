import { AllowedSigners } from '../../../lib/sshsig/allowed-signers.ts';
import { howToLift, readHold, type Hold } from '../../../protocol/control/hold.ts';
import { shortId } from '../../../lib/git/objects.ts';
import type { Heads } from '../../../protocol/control/repository.ts';
import { isAhead, type Request } from '../../../protocol/control/request.ts';
import { vouchesFor, type Vouch, type VouchOptions } from '../../../protocol/control/vouch.ts';
import { notAllowed, usage } from '../../../lib/errors.ts';
import { unmet, type UnmetPrecondition } from '../channel/unmet-precondition.ts';
import { operatorHoldText, readOperatorHold } from '../state/operator-hold.ts';
import { checkCancelled } from './cancellation.ts';
import type { PermittedRequest } from './permitted-request.ts';
import type { Requester } from './policy.ts';
import type { SignerContext } from '../context/signer-context.ts';

/** Whether a request that policy permits may be signed now. */
type Preconditions = { readonly met: true; readonly vouches: readonly Vouch[] } | UnmetPrecondition;

const NO_SIGNERS = AllowedSigners.parse('', 'none');

/** Describes a HOLD on one line, even if its reason has several: they must not look like other lines of the log. */
function holdText(hold: Hold): string {
  const { by, since, commit, reason } = hold;
  const lift = howToLift(hold);
  // The reason is the author's text and comes last, so that it cannot look like this program's.
  const why = reason === '' ? '' : `${lift === '' ? ': ' : '; HOLD says: '}${reason.replaceAll('\n', ' ')}`;
  return `on hold by ${by ?? 'an unknown author'} since ${since?.toISOString() ?? 'an unknown time'}, commit ${shortId(commit ?? '')}${lift}${why}`;
}

/** A HOLD stops every channel; signers allowed by the default channel lift it. The operator's own is in the state folder. */
async function checkHold(context: SignerContext, heads: Heads): Promise<UnmetPrecondition | null> {
  const local = await readOperatorHold(context.config.state);
  if (local) return unmet('hold', operatorHoldText(local));
  if (heads.requests === null) return null;
  const byDefault = context.channels.get('default');
  const allowed = byDefault?.allowed ?? NO_SIGNERS;
  const acceptUnsigned = byDefault?.config.trust.unsignedRequests === 'accept';
  const hold = await readHold(context.repository, heads.requests, {
    allowed,
    acceptUnsigned,
    now: context.now(),
    firstSeen: (commit) => context.acceptedHeads.firstSeen(context.repository, commit),
  });
  if (!hold.held) return null;
  return unmet('hold', holdText(hold));
}

/**
 * A request dated in the future waits until that time, even if it will be refused: its receipt must not be
 * older, and an honestly dated objection must not look like one to an earlier build.
 */
export function checkDate(request: Request, now: Date): UnmetPrecondition | null {
  if (!isAhead(request, now)) return null;
  return {
    met: false,
    code: 'request-in-future',
    why: `it is dated ${request.committedAt.toISOString()}, ahead of this machine's clock (${now.toISOString()}): it waits until then [request-in-future]`,
  };
}

/** When a request was made, for comparison with vouches: no later than it was seen, since its author chose its own time. */
const madeAt = ({ committedAt }: Request, seen: Date): Date => (committedAt < seen ? committedAt : seen);

/** A time lock counts from when this signer first saw the request, since the author chooses the commit's own time. */
function checkTimeLock(
  context: SignerContext,
  { channel, seen }: PermittedRequest,
): UnmetPrecondition | null {
  // Without a delay, a clock that was wrong for a while must have no effect.
  if (channel.config.trust.delay === 0) return null;
  const until = seen.getTime() + channel.config.trust.delay;
  if (context.now().getTime() >= until) return null;
  return unmet(
    'time-lock',
    `time lock until ${new Date(until).toISOString()}; a signed commit that adds HOLD stops it`,
  );
}

const bytesSeen = (vouch: Vouch): string =>
  vouch.differing.map(({ what, vouched }) => `${what} as ${vouched}`).join(', ');

/** Who made the request, for comparison with vouches; null if that is not proved. */
const personOf = (requester: Requester): VouchOptions['requester'] =>
  requester.principal === null || requester.key === null
    ? null
    : { ...requester, principal: requester.principal, fingerprint: requester.key };

/** Throws `vouch-differs` if one of these differing vouches was made after the request. */
async function refuseObjections(
  { repository }: SignerContext,
  differing: readonly Vouch[],
  requested: Date,
): Promise<void> {
  for (const each of differing) {
    const { committer } = await repository.readCommit(each.commit);
    if (committer.at >= requested)
      throw notAllowed(
        'vouch-differs',
        `${each.signer} vouches for other bytes: saw ${bytesSeen(each)} (commit ${shortId(each.commit)})`,
        { hint: 'the two builds differ: find out why before either is signed' },
      );
  }
}

const doesNotCount = ({ commit, signer }: Vouch, root = 'ROOT'): string =>
  `; the vouch ${shortId(commit)} by ${signer} does not count: it neither says "Control: ${root}" nor descends from that commit`;

/**
 * Enough other builders must have vouched for the same bytes. A vouch for other bytes that was made after the request
 * refuses it; an older one is only reported, since the same name is built again each night.
 */
async function checkVouches(
  context: SignerContext,
  { request, channel, requester, seen }: PermittedRequest,
  heads: Heads,
): Promise<Preconditions> {
  const needed = channel.config.trust.vouches;
  if (needed === 0) return { met: true, vouches: [] };
  if (!channel.allowed)
    throw usage(
      'vouches-need-signers',
      `channel ${channel.config.name}: trust.vouches needs trust.allowedSigners`,
    );
  const vouches = await vouchesFor(context.repository, request, {
    allowed: channel.allowed,
    branches: heads.vouches,
    requests: heads.requests,
    origin: context.origin,
    requester: personOf(requester),
    now: context.now(),
  });
  const agreeing = vouches.filter((each) => each.agrees);
  const differing = vouches.filter((each) => each.differing.length > 0 && !each.agrees);
  await refuseObjections(context, differing, madeAt(request, seen));
  if (agreeing.length >= needed) return { met: true, vouches: agreeing };
  const remarks = [
    ...differing.map((each) => `; ${each.signer} vouched earlier for ${bytesSeen(each)}`),
    ...vouches.filter((each) => each.elsewhere).map((each) => doesNotCount(each, context.origin.roots[0])),
  ];
  return unmet('vouches', `waiting for ${needed - agreeing.length} of ${needed} vouches${remarks.join('')}`);
}

/**
 * Checks in this order: is there no HOLD, is the time lock over, have enough others vouched? Throws `request-cancelled`,
 * whatever else the request waits for.
 */
export async function checkPreconditions(
  context: SignerContext,
  permitted: PermittedRequest,
  heads: Heads,
): Promise<Preconditions> {
  const unread = await checkCancelled(context, permitted, heads);
  return (
    unread ??
    (await checkHold(context, heads)) ??
    checkTimeLock(context, permitted) ??
    (await checkVouches(context, permitted, heads))
  );
}

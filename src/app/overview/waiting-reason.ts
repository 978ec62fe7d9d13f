import { isInvalid } from '../../lib/errors.ts';
import { printable } from '../../lib/printable.ts';
import { howToLift, type Hold } from '../../protocol/control/hold.ts';
import type { PublishedPolicy } from '../../protocol/control/published-policy.ts';
import type { ControlRepository } from '../../protocol/control/repository.ts';
import { isAhead, type Request } from '../../protocol/control/request.ts';
import type { Notice } from './model.ts';

type ChannelPolicy = PublishedPolicy['channels'][string];

/** What decides about a request without an answer, as far as its reader knows it. */
export interface WaitingFacts {
  readonly hold: Notice | null;
  /** What cancels the request; asked only if it matters. `acceptUnsigned`: its channel accepts unsigned requests. */
  readonly cancelled: (acceptUnsigned: boolean) => Promise<Notice | null>;
  /** Of the request's channel; undefined if it is not published. */
  readonly policy: ChannelPolicy | undefined;
  /** How many agreeing vouches there are; asked only if it matters. */
  readonly vouches: () => number | Promise<number>;
  readonly now: Date;
}

/**
 * The HOLD as a reason to wait, or null. `named`: the reader has a list of keys, so that `by` is a name in it;
 * otherwise the author is only what the commit claims.
 */
export async function holdReason(
  repository: Pick<ControlRepository, 'readCommit'>,
  hold: Hold | null,
  { named }: { readonly named: boolean },
): Promise<Notice | null> {
  if (!hold?.held || hold.commit === null) return null;
  const { commit, by, since, reason } = hold;
  const claimed = await committerOf(repository, commit);
  const why = reason === '' ? '' : `: ${printable(reason.replaceAll('\n', ' '), 300)}`;
  const at = `since ${since?.toISOString() ?? 'an unknown time'}`;
  const lift = howToLift(hold);
  if (named && by !== null) return { code: 'hold', text: `on hold by ${by} ${at}${lift}${why}` };
  const proof = by === null ? `not signed${named ? ' by a known key' : ''}` : `signed by the key ${by}`;
  const put = lift === '' ? '' : `${lift}; put there`;
  // Text from outside comes last, so that it cannot pass for text of this program.
  const text = `on hold (${proof}) ${at}${put} by an author who ${claimed === null ? 'cannot be read' : `claims to be ${printable(claimed, 100)}`}${why}`;
  return { code: 'hold', text };
}

/** The name of a commit's committer; null if it is malformed. */
async function committerOf(
  repository: Pick<ControlRepository, 'readCommit'>,
  id: string,
): Promise<string | null> {
  try {
    return (await repository.readCommit(id)).committer.name;
  } catch (error) {
    if (isInvalid(error)) return null;
    throw error;
  }
}

const future = (request: Request, now: Date): Notice | null =>
  isAhead(request, now)
    ? {
        code: 'request-in-future',
        text: `it is dated ${request.committedAt.toISOString()}, ahead of this machine's clock: the signer waits until then [request-in-future]`,
      }
    : null;

/** The reader does not know when the signer first saw the request, from which the time lock counts. */
function timeLock({ delay }: ChannelPolicy, request: Request, now: Date): Notice | null {
  const until = request.committedAt.getTime() + delay * 1000;
  return delay === 0 || until <= now.getTime()
    ? null
    : { code: 'time-lock', text: `time lock until ${new Date(until).toISOString()}` };
}

async function missingVouches(
  { vouches: needed }: ChannelPolicy,
  { vouches }: WaitingFacts,
): Promise<Notice | null> {
  if (needed === 0) return null;
  const missing = needed - (await vouches());
  return missing > 0 ? { code: 'vouches', text: `${missing} of ${needed} vouches missing` } : null;
}

/** What the signer reported in the newest commit on its branch. */
function outage({ waiting }: ChannelPolicy): Notice | null {
  if (waiting === undefined) return null;
  const { for: cause, since } = waiting;
  if (cause === 'timestamp')
    return {
      code: 'outage-timestamp',
      text: `none of the signer's timestamp authorities has answered since ${since}; it keeps asking them`,
    };
  if (cause === 'key')
    return {
      code: 'outage-key',
      text: `the signer has been unable to reach its signing key since ${since}; it keeps trying`,
    };
  return { code: 'outage', text: `the signer has reported an outage since ${since}; it keeps trying` };
}

/**
 * What a published policy says about a certificate that cannot sign at a time: the successor is due, but the signer has
 * not changed to it; or the certificate has expired.
 */
export function certificateReason({ certificate, successor }: ChannelPolicy, now: Date): Notice | null {
  if (successor && new Date(successor.from) <= now)
    return {
      code: 'successor-due',
      text: `the signer's next certificate has been due since ${successor.from}, and the signer cannot use it yet`,
    };
  if (certificate?.notAfter !== undefined && new Date(certificate.notAfter) < now)
    return {
      code: 'certificate-expired',
      text: `the signer's certificate expired at ${certificate.notAfter}: requests wait until its operator renews it`,
    };
  return null;
}

/**
 * What an unanswered request waits for, as far as a reader of the repository knows: the signer's published policy, but
 * neither its list of keys nor its clock. Null if nothing is known to delay the request: the signer has it next. In the
 * order in which the signer checks.
 */
export async function waitingReason(request: Request, facts: WaitingFacts): Promise<Notice | null> {
  const { hold, policy, now } = facts;
  const early =
    future(request, now) ?? (await facts.cancelled(policy?.unsignedRequests === 'accept')) ?? hold;
  // A request that cannot be read is rejected, whatever the policy is.
  if (early !== null || policy === undefined || request.error) return early;
  return (
    timeLock(policy, request, now) ??
    (await missingVouches(policy, facts)) ??
    certificateReason(policy, now) ??
    outage(policy)
  );
}

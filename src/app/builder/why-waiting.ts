import type { AllowedSigners } from '../../lib/sshsig/allowed-signers.ts';
import { ANYONE, verifyCommitSignature, type CommitSignature } from '../../lib/git/commit-signature.ts';
import { howToLift, readHold } from '../../protocol/control/hold.ts';
import { Origin } from '../../protocol/control/commit-origin.ts';
import { channelIn } from '../../protocol/control/published-policy.ts';
import type { PublishedPolicy } from '../../protocol/control/receipt.ts';
import type { ControlRepository, Heads } from '../../protocol/control/repository.ts';
import { isAhead, type Request } from '../../protocol/control/request.ts';
import { vouchesFor } from '../../protocol/control/vouch.ts';
import { isRefused, SignpipeError } from '../../lib/errors.ts';
import { printable } from '../../lib/printable.ts';
import { trustedPolicy } from './trusted-policy.ts';

type ChannelPolicy = PublishedPolicy['channels'][string];

/** Whose key made the HOLD only the signer can judge: to a builder its author is a name that a commit claims. */
async function holdOf(repository: ControlRepository, requests: string): Promise<string | null> {
  const hold = await readHold(repository, requests, { allowed: ANYONE });
  const { held, commit, by, since, reason } = hold;
  if (!held || commit === null) return null;
  const { committer } = await repository.readCommit(commit);
  const why = reason === '' ? '' : `: ${printable(reason.replaceAll('\n', ' '), 300)}`;
  const proof = by === null ? 'not signed' : `signed by the key ${by}`;
  const lift = howToLift(hold);
  const put = lift === '' ? '' : `${lift}; put there`;
  // What others wrote stands last, so that it cannot pass for what this program says.
  return `on hold (${proof}) since ${since?.toISOString() ?? 'an unknown time'}${put} by an author who claims to be ${printable(committer.name, 100)}${why}`;
}

const futureOf = (request: Request): string | null =>
  isAhead(request, new Date())
    ? `it is dated ${request.committedAt.toISOString()}, ahead of this machine's clock: the signer waits until then [request-in-future]`
    : null;

function lockOf({ delay }: ChannelPolicy, request: Request): string | null {
  const until = request.committedAt.getTime() + delay * 1000;
  return delay === 0 || until <= Date.now() ? null : `time lock until ${new Date(until).toISOString()}`;
}

/** Which key signed the request, allowed or not; null if none did. */
function requesterOf(request: Request): CommitSignature | null {
  try {
    return verifyCommitSignature(request.raw, ANYONE);
  } catch (error) {
    if (error instanceof SignpipeError) return null;
    throw error;
  }
}

async function vouchesOf(
  repository: ControlRepository,
  { vouches: needed }: ChannelPolicy,
  request: Request,
  heads: Heads,
  roots: readonly string[] | undefined,
): Promise<string | null> {
  if (needed === 0) return null;
  const found = await vouchesFor(repository, request, {
    allowed: ANYONE,
    branches: heads.vouches,
    requests: heads.requests,
    origin: roots && new Origin(repository, () => ({ ids: roots, configured: true })),
    requester: requesterOf(request),
  });
  const missing = needed - found.filter(({ agrees }) => agrees).length;
  return missing > 0 ? `waiting for ${missing} of ${needed} vouches` : null;
}

/** The signer's word, and as old as the newest commit on its branch. */
const outageOf = ({ waiting }: ChannelPolicy): string | null =>
  waiting === undefined
    ? null
    : `none of the signer's timestamp authorities has answered since ${waiting.since}; it goes on asking them`;

async function reasonToWait(
  repository: ControlRepository,
  request: Request,
  heads: Heads,
  receiptSigners: AllowedSigners,
): Promise<string | null> {
  const hold = heads.requests === null ? null : await holdOf(repository, heads.requests);
  if (hold !== null) return hold;
  const future = futureOf(request);
  if (future !== null) return future;
  const policy = await trustedPolicy(repository, heads.receipts, receiptSigners);
  const channel = channelIn(policy, request.channel);
  if (!channel || request.error) return null;
  return (
    lockOf(channel, request) ??
    (await vouchesOf(repository, channel, request, heads, policy?.roots)) ??
    outageOf(channel)
  );
}

/**
 * What an unanswered request waits for, in the signer's words, as far as can be seen from here: the
 * builder has the signer's published policy, and neither its list of keys nor its clock. So a vouch by a key
 * that the signer does not know is counted here and not there. Null when nothing is known to stand in the way.
 */
export async function whyWaiting(
  repository: ControlRepository,
  request: Request,
  heads: Heads,
  receiptSigners: AllowedSigners,
): Promise<string | null> {
  try {
    return await reasonToWait(repository, request, heads, receiptSigners);
  } catch (error) {
    // If something there cannot be read or believed, this explains nothing; only the receipt decides.
    if (isRefused(error)) return null;
    throw error;
  }
}

import type { AllowedSigners } from '../../lib/sshsig/allowed-signers.ts';
import { ANYONE, verifyCommitSignature, type CommitSignature } from '../../lib/git/commit-signature.ts';
import { shortId } from '../../lib/git/objects.ts';
import { isRefused, SignpipeError } from '../../lib/errors.ts';
import { printable } from '../../lib/printable.ts';
import { howToLift, readHold } from '../../protocol/control/hold.ts';
import { Origin } from '../../protocol/control/commit-origin.ts';
import { channelIn, type PublishedPolicy } from '../../protocol/control/published-policy.ts';
import type { ControlRepository, Heads } from '../../protocol/control/repository.ts';
import { isAhead, readRequest, type Request } from '../../protocol/control/request.ts';
import { vouchesFor } from '../../protocol/control/vouch.ts';
import type { BuilderSession } from './session.ts';
import { trustedPolicy } from './trusted-policy.ts';

type ChannelPolicy = PublishedPolicy['channels'][string];

/** The HOLD, if there is one. Only the signer can judge whose key made it: here its author is what the commit claims. */
async function holdText(repository: ControlRepository, requests: string): Promise<string | null> {
  const hold = await readHold(repository, requests, { allowed: ANYONE });
  const { held, commit, by, since, reason } = hold;
  if (!held || commit === null) return null;
  const { committer } = await repository.readCommit(commit);
  const why = reason === '' ? '' : `: ${printable(reason.replaceAll('\n', ' '), 300)}`;
  const proof = by === null ? 'not signed' : `signed by the key ${by}`;
  const lift = howToLift(hold);
  const put = lift === '' ? '' : `${lift}; put there`;
  // Text from outside comes last, so that it cannot pass for text of this program.
  return `on hold (${proof}) since ${since?.toISOString() ?? 'an unknown time'}${put} by an author who claims to be ${printable(committer.name, 100)}${why}`;
}

const futureText = (request: Request): string | null =>
  isAhead(request, new Date())
    ? `it is dated ${request.committedAt.toISOString()}, ahead of this machine's clock: the signer waits until then [request-in-future]`
    : null;

function timeLockText({ delay }: ChannelPolicy, request: Request): string | null {
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

async function vouchesText(
  repository: ControlRepository,
  { vouches: needed }: ChannelPolicy,
  request: Request,
  heads: Heads,
  roots: readonly string[] | undefined,
): Promise<string | null> {
  if (needed === 0) return null;
  const vouches = await vouchesFor(repository, request, {
    allowed: ANYONE,
    branches: heads.vouches,
    requests: heads.requests,
    origin: roots && new Origin(repository, () => ({ ids: roots, configured: true })),
    requester: requesterOf(request),
  });
  const missing = needed - vouches.filter(({ agrees }) => agrees).length;
  return missing > 0 ? `waiting for ${missing} of ${needed} vouches` : null;
}

/** What the signer reported in the newest commit on its branch. */
function outageText({ waiting }: ChannelPolicy): string | null {
  if (waiting === undefined) return null;
  const { for: cause, since } = waiting;
  if (cause === 'timestamp')
    return `none of the signer's timestamp authorities has answered since ${since}; it keeps asking them`;
  if (cause === 'key')
    return `the signer has been unable to reach its signing key since ${since}; it keeps trying`;
  return `the signer has reported an outage since ${since}; it keeps trying`;
}

/**
 * What a published policy says about a certificate that cannot sign at a time: the successor is due, but the signer has
 * not changed to it; or the certificate has expired.
 */
export function certificateText({ certificate, successor }: ChannelPolicy, now: Date): string | null {
  if (successor && new Date(successor.from) <= now)
    return `the signer's next certificate has been due since ${successor.from}, and the signer cannot use it yet`;
  if (certificate?.notAfter !== undefined && new Date(certificate.notAfter) < now)
    return `the signer's certificate expired at ${certificate.notAfter}: requests wait until its operator renews it`;
  return null;
}

/** Reports what an unanswered request waits for, as far as that is known here, whenever that changes. */
export class WaitingReport {
  /** What the request waits for; null if nothing is known. */
  why: string | null = null;
  private reported: string | null = null;
  private request: Request | null = null;
  /** Only for speed: the policy of this tip of the receipt branch, read and verified once. */
  private known: { readonly tip: string | null; readonly policy: PublishedPolicy | null } | null = null;

  constructor(
    private readonly session: Pick<BuilderSession, 'repository' | 'say'>,
    private readonly id: string,
    private readonly receiptSigners: AllowedSigners,
  ) {}

  async update(heads: Heads): Promise<void> {
    const { repository, say } = this.session;
    this.request ??= await readRequest(repository, this.id);
    this.why = await this.reason(this.request, heads);
    const line = this.why ?? 'waiting for the signer to answer';
    if (line !== this.reported) say(`request ${shortId(this.id)}: ${line}`);
    this.reported = line;
  }

  /**
   * A builder knows the signer's published policy, but neither its list of keys nor its clock. So a vouch by a key
   * that the signer does not know counts here and not there. Null if nothing is known to delay the request.
   */
  private async reason(request: Request, heads: Heads): Promise<string | null> {
    const { repository } = this.session;
    try {
      const hold = heads.requests === null ? null : await holdText(repository, heads.requests);
      const early = hold ?? futureText(request);
      if (early !== null) return early;
      const policy = await this.policyAt(heads.receipts);
      const channel = channelIn(policy, request.channel);
      if (!channel || request.error) return null;
      return (
        timeLockText(channel, request) ??
        (await vouchesText(repository, channel, request, heads, policy?.roots)) ??
        certificateText(channel, new Date()) ??
        outageText(channel)
      );
    } catch (error) {
      // What cannot be read or trusted explains nothing; only the receipt decides.
      if (isRefused(error)) return null;
      throw error;
    }
  }

  private async policyAt(tip: string | null): Promise<PublishedPolicy | null> {
    if (this.known?.tip !== tip)
      this.known = { tip, policy: await trustedPolicy(this.session.repository, tip, this.receiptSigners) };
    return this.known.policy;
  }
}

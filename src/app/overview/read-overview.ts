import { isRefused } from '../../lib/errors.ts';
import { ANYONE, type CommitSigners } from '../../lib/git/commit-signature.ts';
import { expiryOf } from '../../lib/x509/expiry.ts';
import { readHold, type Hold } from '../../protocol/control/hold.ts';
import {
  channelIn,
  readSignedPolicy,
  type PublishedPolicy,
} from '../../protocol/control/published-policy.ts';
import { unansweredRequests } from '../../protocol/control/receipt-history.ts';
import type { ControlRepository, Heads } from '../../protocol/control/repository.ts';
import { alarmsOf } from './alarms.ts';
import type { ChannelOverview, Notice, Overview, SignerOverview } from './model.ts';
import { recentOutcomes } from './recent-outcomes.ts';
import { describeQueue } from './request-queue.ts';
import { VouchCounter } from './vouch-counter.ts';
import { holdReason } from './waiting-reason.ts';

export interface OverviewOptions {
  /** Who may sign requests and vouches, and lift a HOLD; null if the reader has no list: then keys count as themselves. */
  readonly requestSigners: CommitSigners | null;
  /** Whose receipts, policies and heartbeats are trusted. */
  readonly receiptSigners: CommitSigners;
  /** Requests in the history of this commit need no answer (`control.since` of the signer). */
  readonly after?: string | undefined;
  readonly now?: Date;
  /** How many requests of the queue are described, oldest first; 100 unless given. */
  readonly queue?: number;
  /** How many outcomes; 10 unless given. */
  readonly recent?: number;
  /** The newest heartbeats; none unless given. */
  readonly signers?: readonly SignerOverview[];
}

interface TrustedPolicy {
  readonly policy: PublishedPolicy | null;
  readonly fault: Notice | null;
}

/** The newest published policy, if a key that is trusted for receipts signed it. */
async function readTrustedPolicy(
  repository: ControlRepository,
  tip: string | null,
  receiptSigners: CommitSigners,
): Promise<TrustedPolicy> {
  try {
    return { policy: await readSignedPolicy(repository, tip, receiptSigners), fault: null };
  } catch (error) {
    if (!isRefused(error)) throw error;
    return {
      policy: null,
      fault: { code: error.code, text: `the tip of the receipt branch: ${error.message}` },
    };
  }
}

async function holdAt(
  repository: ControlRepository,
  tip: string | null,
  { requestSigners, now }: OverviewOptions,
  policy: PublishedPolicy | null,
): Promise<Hold | null> {
  if (tip === null) return null;
  const acceptUnsigned = channelIn(policy, 'default')?.unsignedRequests === 'accept';
  return readHold(repository, tip, {
    allowed: requestSigners ?? ANYONE,
    acceptUnsigned,
    ...(now && { now }),
  });
}

function channelsOf(policy: PublishedPolicy | null, now: Date): ChannelOverview[] {
  return Object.entries(policy?.channels ?? {}).map(([name, channel]) => {
    const end = channel.certificate?.notAfter;
    return {
      name,
      policy: channel,
      daysLeft: end === undefined ? null : expiryOf({ notAfter: new Date(end) }, now).days,
    };
  });
}

/** The heads that running signers accepted and that are not in the reader's history. */
async function foreignHeads(
  repository: ControlRepository,
  tip: string | null,
  signers: readonly SignerOverview[],
): Promise<{ signer: string; head: string }[]> {
  const foreign: { signer: string; head: string }[] = [];
  for (const { content } of signers) {
    const head = content.heads.requests;
    if (head === null) continue;
    if (tip === null || !(await repository.isAncestor(head, tip)))
      foreign.push({ signer: content.name, head });
  }
  return foreign;
}

/** The requests without an answer, oldest first. */
async function unanswered(
  repository: ControlRepository,
  heads: Heads,
  after: string | undefined,
): Promise<string[]> {
  return unansweredRequests(repository, heads, after === undefined ? null : { requests: after });
}

/**
 * What goes on in a control repository: the queue and why each request waits, the newest outcomes, HOLD, signers,
 * certificates and alarms. Everything comes from the repository as it is on this machine, and is believed as far as a key
 * of the reader's lists signed it; `audit` alone checks the whole history. Throws only errors of this machine.
 */
export async function readOverview(
  repository: ControlRepository,
  options: OverviewOptions,
): Promise<Overview> {
  const { receiptSigners, requestSigners, after, now = new Date(), signers = [] } = options;
  const heads = await repository.heads();
  const { policy, fault } = await readTrustedPolicy(repository, heads.receipts, receiptSigners);
  const [hold, waiting, recent] = await Promise.all([
    holdAt(repository, heads.requests, options, policy),
    unanswered(repository, heads, after),
    recentOutcomes(repository, heads.receipts, options.recent ?? 10, receiptSigners),
  ]);
  const allowed = requestSigners ?? ANYONE;
  const requests = await describeQueue(waiting.slice(0, options.queue ?? 100), {
    repository,
    requestSigners: allowed,
    hold: await holdReason(repository, hold, { named: requestSigners !== null }),
    policy,
    vouches: new VouchCounter(repository, { allowed, heads, roots: policy?.roots, now }),
    signers,
    now,
  });
  const channels = channelsOf(policy, now);
  return {
    at: now,
    heads: { requests: heads.requests, receipts: heads.receipts },
    hold,
    queue: { total: waiting.length, requests },
    recent,
    channels,
    signers,
    alarms: alarmsOf({
      hold,
      policyFault: fault,
      signers,
      foreignHeads: await foreignHeads(repository, heads.requests, signers),
      channels,
      recent,
      now,
    }),
  };
}

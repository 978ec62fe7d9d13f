import { isRefused } from '../../lib/errors.ts';
import { ANYONE, type CommitSigners } from '../../lib/git/commit-signature.ts';
import { expiryOf } from '../../lib/x509/expiry.ts';
import { readHold, type Hold } from '../../protocol/control/hold.ts';
import {
  channelIn,
  readSignedPolicy,
  type PublishedPolicy,
} from '../../protocol/control/published-policy.ts';
import { readHeartbeats, type Heartbeats } from '../../protocol/control/read-heartbeats.ts';
import type { ControlRepository } from '../../protocol/control/repository.ts';
import { alarmsOf } from './alarms.ts';
import { Cancellations } from './cancellations.ts';
import { OverviewCheckpoint } from './checkpoint.ts';
import { foreignHeads } from './foreign-heads.ts';
import type { ChannelOverview, Notice, Overview, SignerReport } from './model.ts';
import { ownerOf } from './receipt-keys.ts';
import { recentOutcomes } from './recent-outcomes.ts';
import { describeQueue } from './request-queue.ts';
import { VouchCounter } from './vouch-counter.ts';
import { holdReason } from './waiting-reason.ts';

export interface OverviewOptions {
  /** Who may sign requests and vouches, and lift a HOLD; null if the reader has no list: then keys count as themselves. */
  readonly requestSigners: CommitSigners | null;
  /** Whose receipts, policies and heartbeats are trusted. */
  readonly receiptSigners: CommitSigners;
  /** `receiptSigners` lists others too: of them, only the key that the receipt branch belongs to is trusted for receipts. */
  readonly ownerOnly?: boolean;
  /** Requests in the history of this commit need no answer (`control.since` of the signer). */
  readonly after?: string | undefined;
  readonly now?: Date;
  /** How many requests of the queue are described, oldest first; 100 unless given. */
  readonly queue?: number;
  /** How many outcomes; 10 unless given. */
  readonly recent?: number;
  /** What signers report; their heartbeats in the repository unless given. */
  readonly signers?: readonly SignerReport[];
  /** The HOLD of a signer's operator, which is not in the repository. */
  readonly operatorHold?: Notice | null;
  /** The file of an `OverviewCheckpoint`; null to keep none. */
  readonly checkpoint?: string | null;
}

const NOT_HEARD: Heartbeats = { signers: [], problems: [] };

/** Whose receipts count, and the policy that one of these keys signed. */
interface Trusted {
  readonly signers: CommitSigners;
  readonly policy: PublishedPolicy | null;
  readonly faults: readonly Notice[];
}

/** The newest published policy, if a key that is trusted for receipts signed it. */
export async function readTrusted(
  repository: ControlRepository,
  tip: string | null,
  root: string | null,
  { receiptSigners, ownerOnly }: OverviewOptions,
): Promise<Trusted> {
  const { signers, fault } = ownerOnly
    ? await ownerOf(repository, root, receiptSigners)
    : { signers: receiptSigners, fault: null };
  if (fault) return { signers, policy: null, faults: [fault] };
  try {
    return { signers, policy: await readSignedPolicy(repository, tip, signers), faults: [] };
  } catch (error) {
    if (!isRefused(error)) throw error;
    const untrusted = { code: error.code, text: `the tip of the receipt branch: ${error.message}` };
    return { signers, policy: null, faults: [untrusted] };
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

/**
 * What goes on in a control repository: the queue and why each request waits, the newest outcomes, HOLD, signers,
 * certificates and alarms. Everything comes from the repository as it is on this machine, and is believed as far as a key
 * of the reader's lists signed it; `audit` alone checks the whole history. Throws only errors of this machine.
 */
export async function readOverview(
  repository: ControlRepository,
  options: OverviewOptions,
): Promise<Overview> {
  const { requestSigners, operatorHold = null, after, now = new Date() } = options;
  const heads = await repository.heads();
  const checkpoint = await OverviewCheckpoint.open(options.checkpoint ?? null, repository, after);
  // One after another: each would read the same history at first.
  const waiting = await checkpoint.unanswered(heads);
  const root = heads.receipts === null ? null : await checkpoint.receiptsRoot(heads.receipts);
  const trusted = await readTrusted(repository, heads.receipts, root, options);
  const [hold, recent, heard] = await Promise.all([
    holdAt(repository, heads.requests, options, trusted.policy),
    recentOutcomes(repository, heads.receipts, options.recent ?? 10, trusted.signers),
    options.signers ? NOT_HEARD : readHeartbeats(repository, trusted.signers, now),
  ]);
  const signers = options.signers ?? heard.signers;
  await checkpoint.save(heads, waiting, root);
  const allowed = requestSigners ?? ANYONE;
  const requests = await describeQueue(waiting.slice(0, options.queue ?? 100), {
    repository,
    requestSigners: allowed,
    hold: operatorHold ?? (await holdReason(repository, hold, { named: requestSigners !== null })),
    cancellations: new Cancellations(repository, {
      tip: heads.requests,
      allowed,
      named: requestSigners !== null,
      roots: trusted.policy?.roots,
      now,
    }),
    policy: trusted.policy,
    vouches: new VouchCounter(repository, { allowed, heads, roots: trusted.policy?.roots, now }),
    signers,
    now,
  });
  const channels = channelsOf(trusted.policy, now);
  const contents = signers.map(({ content }) => content);
  return {
    at: now,
    heads: { requests: heads.requests, receipts: heads.receipts },
    hold,
    queue: { total: waiting.length, requests },
    recent,
    channels,
    signers: heard.signers,
    alarms: alarmsOf({
      hold,
      operatorHold,
      faults: trusted.faults,
      signers,
      problems: heard.problems,
      foreignHeads: await foreignHeads(repository, heads, contents),
      channels,
      recent,
      now,
    }),
  };
}

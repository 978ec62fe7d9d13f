import type { Hold } from '../../protocol/control/hold.ts';
import type { PublishedPolicy } from '../../protocol/control/published-policy.ts';
import type { Receipt } from '../../protocol/control/receipt-schema.ts';
import type { SignerHeartbeat } from '../../protocol/control/heartbeat.ts';
import type { Heartbeat, SignerActivity } from '../../protocol/control/signer-health.ts';

/** Something that a reader should know, with a stable code. The text is fit to show. */
export interface Notice {
  readonly code: string;
  readonly text: string;
}

/** Something that someone has to look at. */
export interface Alarm extends Notice {
  /** `alarm`: something is not as it should be, or is forged; `warning`: it will need work. */
  readonly level: 'alarm' | 'warning';
}

/** The author of a commit, as far as its signature proves it. */
export interface ProvenAuthor {
  /** The name in the reader's list of keys; the key's fingerprint if the reader has no list. */
  readonly principal: string;
  /** `SHA256:` fingerprint. */
  readonly key: string;
}

/** A request without an answer. */
export interface QueuedRequest {
  /** Full commit id. */
  readonly request: string;
  readonly files: readonly string[];
  readonly channel: string;
  /** First line of the commit's message, as its author wrote it. */
  readonly subject: string;
  /** Null if no key that the reader accepts signed it. */
  readonly askedBy: ProvenAuthor | null;
  /** `Name <address>` as the commit claims it. */
  readonly author: string;
  /** The commit's own time, as its author claims it; null if it cannot be read. */
  readonly askedAt: Date | null;
  readonly waitsFor: Notice;
  /** What the signer does with it at the moment, if it is the request in hand. */
  readonly inHand?: NonNullable<Heartbeat['current']>;
}

/** The answer to a request, as the newest receipts state it. */
export interface RecentOutcome {
  readonly request: string;
  readonly receipt: string;
  /** Whether a key that the reader accepts for receipts signed it. */
  readonly proven: boolean;
  readonly outcome: Receipt['outcome'];
  readonly test: boolean;
  readonly reason: { readonly code: string; readonly message: string } | null;
  readonly files: readonly string[];
  readonly channel: string;
  /** The requester, according to the receipt. */
  readonly askedBy: string | null;
  readonly askedAt: Date;
  readonly answeredAt: Date;
  /** Which signer answered, according to the receipt. */
  readonly signer: string | null;
}

/** What is known of one signer from its newest heartbeat. */
export type SignerOverview = Pick<SignerHeartbeat, 'content' | 'key' | 'state'>;

/** What the queue and the alarms need to know of a signer: from its heartbeat, or its operator from the state folder. */
export interface SignerReport {
  readonly state: SignerHeartbeat['state'];
  readonly content: Pick<Heartbeat, 'name' | 'written' | 'heads' | keyof SignerActivity>;
}

/** A channel according to the newest trusted policy. */
export interface ChannelOverview {
  readonly name: string;
  readonly policy: PublishedPolicy['channels'][string];
  /** Whole days until its certificate expires, negative afterwards; null if no end is published. */
  readonly daysLeft: number | null;
}

/** What goes on in a control repository, at one moment, as far as its reader can prove it. */
export interface Overview {
  readonly at: Date;
  readonly heads: { readonly requests: string | null; readonly receipts: string | null };
  readonly hold: Hold | null;
  readonly queue: {
    /** How many requests have no answer. */
    readonly total: number;
    /** The oldest of them. */
    readonly requests: readonly QueuedRequest[];
  };
  /** Newest first. */
  readonly recent: readonly RecentOutcome[];
  /** Empty if no trusted policy is published. */
  readonly channels: readonly ChannelOverview[];
  readonly signers: readonly SignerOverview[];
  /** What someone has to look at, the worst first. */
  readonly alarms: readonly Alarm[];
}

import type { Receipt, ReceiptEntry, ReceiptFile } from '../../protocol/control/receipt.ts';
import type { Hold } from '../../protocol/control/hold.ts';

/** Something that does not hold, and the commit that it is about. */
export interface Problem {
  /** Stable and machine-readable. */
  readonly code: string;
  /** The whole id of the commit. */
  readonly commit: string;
  readonly message: string;
}

export const OUTCOMES = ['signed', 'rejected', 'failed', 'waiting', 'unproven'] as const;

/** What became of a request. `unproven`: there is a receipt, but it, or what it answers, does not hold. */
export type RowOutcome = (typeof OUTCOMES)[number];

/** A vouch that a receipt counts, or that stands there for a request that waits. */
export type Vouch = Receipt['vouches'][number];

/** Who made a commit, as its signature and the allowed signers prove it. */
export interface Proven {
  readonly principal: string;
  /** `SHA256:` fingerprint. */
  readonly key: string;
}

/** A signed program, as the receipt has it. */
export interface AuditedEntry extends ReceiptEntry {
  /** The detached signature is in the receipt, verifies, and says what the receipt says: digest, certificate, time. */
  readonly proven: boolean;
}

export interface AuditedFile extends Omit<ReceiptFile, 'signed'> {
  readonly signed: readonly AuditedEntry[];
}

/** One answer to one request, or one request without an answer. Texts are hostile: show them through `printable`. */
export interface AuditRow {
  readonly outcome: RowOutcome;
  /** What an unproven receipt claims. */
  readonly claimed: Receipt['outcome'] | null;
  /** Commit ids. */
  readonly request: string;
  readonly receipt: string | null;
  /** ISO 8601; null when the request's commit cannot be read. */
  readonly requestedAt: string | null;
  readonly answeredAt: string | null;
  /** From the request's commit to the answer, in milliseconds; null while it waits, or when clocks disagree. */
  readonly waited: number | null;
  /** First line of the request's message. */
  readonly subject: string;
  /** `Name <address>`, as the request's commit says; nobody proves it. */
  readonly author: string;
  readonly askedBy: Proven | null;
  readonly vouchedBy: readonly Vouch[];
  readonly channel: string;
  readonly sourceRevision: string | null;
  readonly reason: Receipt['reason'] | null;
  /** Of a repeated request: the same request under the id that was answered, and its receipt. */
  readonly repeats: Receipt['repeats'] | null;
  /** What keeps a waiting request, where the repository tells: a HOLD, vouches. */
  readonly waitingFor: string | null;
  readonly test: boolean;
  readonly certificate: NonNullable<Receipt['certificate']> | null;
  readonly files: readonly AuditedFile[];
  readonly times: Receipt['times'] | null;
  /** Version of the program that wrote the receipt. */
  readonly signpipe: string | null;
  /** What does not hold about this answer. */
  readonly problems: readonly Problem[];
}

/** Rows in their order. They may lie packed, so that each pass over them has its price. */
export interface Rows extends Iterable<AuditRow> {
  readonly length: number;
}

/** Everything that a control repository tells, held to its signatures and links. */
export interface Audit {
  /** Where the branches stood; what was cut off behind that, only a witness elsewhere can know. */
  readonly heads: { readonly requests: string | null; readonly receipts: string | null };
  /** Whose receipts these are; null when there are none, or nobody can say. */
  readonly receiptsBy: (Proven & { readonly name: string; readonly root: string }) | null;
  readonly hold: Hold | null;
  /** Answers in the order of the receipt branch, then what waits, in the order of the requests. */
  readonly rows: Rows;
  readonly problems: readonly Problem[];
  /** Commits whose signatures were checked. */
  readonly verified: number;
}

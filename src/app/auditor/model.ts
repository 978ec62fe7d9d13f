import type {
  Attachment,
  Receipt,
  ReceiptEntry,
  ReceiptFile,
} from '../../protocol/control/receipt-schema.ts';
import type { Hold } from '../../protocol/control/hold.ts';
import type { Heartbeat } from '../../protocol/control/signer-health.ts';

/** A problem of the history, and the commit that has it. */
export interface Problem {
  /** Stable and machine-readable. */
  readonly code: string;
  /** The full id of the commit. */
  readonly commit: string;
  readonly message: string;
}

export const OUTCOMES = ['signed', 'rejected', 'failed', 'waiting', 'unproven'] as const;

/** What became of a request. `unproven`: there is a receipt, but it or the request has a problem. */
export type RowOutcome = (typeof OUTCOMES)[number];

/** A vouch that a receipt counts, or that exists for a waiting request. */
export type CountedVouch = Receipt['vouches'][number];

/** The author of a commit, as proved by its signature and the allowed signers. */
export interface ProvenSigner {
  readonly principal: string;
  /** `SHA256:` fingerprint. */
  readonly key: string;
}

/** A signed program, as the receipt lists it. */
export interface AuditedEntry extends ReceiptEntry {
  /** Whether the detached signature is in the receipt, verifies, and has the digest, certificate and time that the receipt states. */
  readonly proven: boolean;
}

export interface AuditedFile extends Omit<ReceiptFile, 'signed'> {
  readonly signed: readonly AuditedEntry[];
}

/** One answer to one request, or one request without an answer. Texts may be hostile: show them through `printable`. */
export interface AuditRow {
  readonly outcome: RowOutcome;
  /** The outcome that the receipt claims. */
  readonly claimed: Receipt['outcome'] | null;
  /** Commit ids. */
  readonly request: string;
  readonly receipt: string | null;
  /** ISO 8601; null if the request's commit cannot be read. */
  readonly requestedAt: string | null;
  readonly answeredAt: string | null;
  /** From the request's commit to the answer, in milliseconds; null if there is no answer or clocks disagree. */
  readonly waited: number | null;
  /** First line of the request's message. */
  readonly subject: string;
  /** `Name <address>` from the request's commit; not proved. */
  readonly author: string;
  readonly askedBy: ProvenSigner | null;
  readonly vouchedBy: readonly CountedVouch[];
  readonly channel: string;
  readonly sourceRevision: string | null;
  readonly reason: Receipt['reason'] | null;
  /** For a repeated request: the id under which it was answered before, and that receipt. */
  readonly repeats: Receipt['repeats'] | null;
  /** What a waiting request waits for, if the repository shows it: a HOLD, vouches. */
  readonly waitingFor: string | null;
  readonly test: boolean;
  readonly certificate: NonNullable<Receipt['certificate']> | null;
  /** What stays the same when the certificate is renewed; proven with each signature. */
  readonly identity: NonNullable<Receipt['identity']> | null;
  readonly files: readonly AuditedFile[];
  /** What was delivered about all files together, such as `REQUEST.SHA256SUMS`. */
  readonly attachments: readonly Attachment[];
  readonly times: Receipt['times'] | null;
  /** The version of signpipe that wrote the receipt. */
  readonly signpipe: string | null;
  /** The problems of this answer. */
  readonly problems: readonly Problem[];
}

/** Rows in order. They may be compressed, so that each iteration takes time. */
export interface Rows extends Iterable<AuditRow> {
  readonly length: number;
}

/** The result of an audit: the content of a control repository, checked by its signatures and links. */
export interface Audit {
  /** The tips of the branches. That later commits were cut off can only be seen in the signer's accepted heads. */
  readonly heads: { readonly requests: string | null; readonly receipts: string | null };
  /** The owner of the receipts; null if there are no receipts or the owner is not proved. */
  readonly receiptsBy: (ProvenSigner & { readonly name: string; readonly root: string }) | null;
  readonly hold: Hold | null;
  /** Answers in the order of the receipt branch, then waiting requests in the order of the request branch. */
  readonly rows: Rows;
  readonly problems: readonly Problem[];
  /** The number of commits whose signatures were checked. */
  readonly verified: number;
}

/** A certificate that receipts name. */
export interface AuditedCertificate {
  /** SHA-256, lower-case hex. */
  readonly sha256: string;
  readonly subject: string;
  /** ISO 8601; null if receipts name only its SHA-256. */
  readonly notAfter: string | null;
  readonly test: boolean;
  /** How many programs were signed with it. */
  readonly programs: number;
}

/** An identity that signed, with its certificates, oldest receipt first. */
export interface AuditedIdentity {
  readonly identity: NonNullable<Receipt['identity']>;
  readonly programs: number;
  readonly certificates: readonly AuditedCertificate[];
}

/** One signature by a revoked certificate. */
export interface RevokedProgram {
  /** The file of the request, and the path in it with the containers on the way; empty for a single program. */
  readonly file: string;
  readonly path: string;
  /** SHA-256 of the signed program. */
  readonly sha256: string;
  readonly digest: string;
  readonly timestamp: string | null;
  /** Whether the signature stays valid. */
  readonly survives: boolean;
  /** The reason in a few words. */
  readonly why: string;
  readonly request: string;
  readonly receipt: string;
}

/** What the revocation of a certificate as of a date does to all signatures that were made with it. */
export interface Revocation {
  readonly certificate: string;
  readonly subject: string;
  readonly at: string;
  /** Signatures that become invalid. */
  readonly killed: readonly RevokedProgram[];
  /** Signatures that stay valid thanks to their timestamp. */
  readonly surviving: readonly RevokedProgram[];
}

/** Why the newest state cannot be shown. */
export interface PageTrouble {
  /** ISO 8601. */
  readonly since: string;
  /** The code of an error. */
  readonly code: string;
  readonly message: string;
}

/** What the heartbeats say. */
export interface SignersHealth {
  /** The last heartbeat of each signer, proved by a key that may sign receipts. */
  readonly signers: readonly Heartbeat[];
  /**
   * Heartbeats that were ignored, since they prove nothing. `name` is the end of the ref's name, or null for the reason why the
   * newest ones are missing.
   */
  readonly ignored: readonly {
    readonly name: string | null;
    readonly code: string;
    readonly message: string;
  }[];
  /** Names of signers that accepted requests or receipts which the history here does not contain. */
  readonly differing: readonly string[];
}

/** What a page shows beside the audit. Texts may be hostile, until the page makes them printable. */
export interface PageState {
  /** When the page will be written again at the latest, ISO 8601; null if it is written only once. */
  readonly next: string | null;
  /** After how many seconds the repository is read again; null if the page is written only once. */
  readonly every: number | null;
  /** What keeps the repository from being read now. */
  readonly trouble: PageTrouble | null;
  readonly health: SignersHealth;
}

import type { Commit } from '../../lib/git/objects.ts';
import type { FoundReceipt } from '../../protocol/control/receipt.ts';
import { fileWithoutSignatures } from '../../protocol/control/receipt-schema.ts';
import type { AuditRow, AuditedFile, Problem, CountedVouch } from './model.ts';
import { provenBy, type AuditedRequest } from './request-audit.ts';

type RequestPart = Pick<
  AuditRow,
  'requestedAt' | 'subject' | 'author' | 'askedBy' | 'channel' | 'sourceRevision' | 'files'
>;

/** The fields of a row that come from the request's commit. */
function requestPart(audited: AuditedRequest | null): RequestPart {
  const request = audited?.request;
  const readable = request !== undefined && request.raw.length > 0;
  return {
    requestedAt: readable ? request.committedAt.toISOString() : null,
    subject: request?.subject ?? '',
    author: request?.author ?? '',
    askedBy: audited && provenBy(audited),
    channel: request?.channel ?? 'default',
    sourceRevision: request?.sourceRevision ?? null,
    files: (request?.files ?? []).map(fileWithoutSignatures),
  };
}

const NO_ANSWER = {
  claimed: null,
  receipt: null,
  answeredAt: null,
  waited: null,
  vouchedBy: [],
  reason: null,
  repeats: null,
  waitingFor: null,
  test: false,
  certificate: null,
  identity: null,
  attachments: [],
  times: null,
  signpipe: null,
  problems: [],
} as const;

/** How long the requester waited; null if the clocks disagree. */
function waitedFor(from: string | null, to: string): number | null {
  const time = from === null ? -1 : new Date(to).getTime() - new Date(from).getTime();
  return time >= 0 ? time : null;
}

/** The identity in a receipt of version 1, which does not state it. */
const identityOf = ({ subject, issuer }: NonNullable<AuditRow['certificate']>): AuditRow['identity'] => ({
  subject,
  issuer,
});

/** The row of a receipt that was read. `problems` may still grow; see `withFinalOutcome`. */
export function answeredRow(
  { id, receipt }: Pick<FoundReceipt, 'id' | 'receipt'>,
  audited: AuditedRequest | null,
  files: readonly AuditedFile[],
  problems: readonly Problem[],
): AuditRow {
  const part = requestPart(audited);
  const {
    request,
    outcome,
    reason,
    repeats,
    test,
    certificate,
    identity,
    attachments,
    vouches,
    times,
    signpipe,
  } = receipt;
  return {
    ...NO_ANSWER,
    ...part,
    outcome,
    claimed: outcome,
    request: request.id,
    receipt: id,
    answeredAt: times.answered,
    waited: waitedFor(part.requestedAt, times.answered),
    vouchedBy: vouches,
    reason: reason ?? null,
    repeats: repeats ?? null,
    test,
    certificate: certificate ?? null,
    identity: identity ?? (certificate ? identityOf(certificate) : null),
    attachments: attachments ?? [],
    files: files.length > 0 ? files : part.files,
    times,
    signpipe,
    problems,
  };
}

/** The row of a commit that looks like an answer, but whose content must not be trusted. */
export function unreadRow(
  request: string,
  commit: Commit,
  audited: AuditedRequest | null,
  problems: readonly Problem[],
): AuditRow {
  return {
    ...NO_ANSWER,
    ...requestPart(audited),
    outcome: 'unproven',
    request,
    receipt: commit.id,
    answeredAt: commit.committer.at.toISOString(),
    problems,
  };
}

/** The row of a request without an answer. */
export function waitingRow(
  audited: AuditedRequest,
  vouchedBy: readonly CountedVouch[],
  waitingFor: string | null,
  problems: readonly Problem[],
): AuditRow {
  return {
    ...NO_ANSWER,
    ...requestPart(audited),
    outcome: 'waiting',
    request: audited.request.id,
    vouchedBy,
    waitingFor,
    problems,
  };
}

/** The row when all problems are known: an answer with a problem proves nothing. */
export const withFinalOutcome = (row: AuditRow): AuditRow =>
  row.problems.length > 0 && row.receipt !== null ? { ...row, outcome: 'unproven' } : row;

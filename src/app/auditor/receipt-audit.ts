import type { AllowedSigners } from '../../lib/sshsig/allowed-signers.ts';
import { verifyCommitSignature } from '../../lib/git/commit-signature.ts';
import { shortId, type Commit, type TreeEntry } from '../../lib/git/objects.ts';
import {
  channelIn,
  isPolicyCommit,
  readPolicy,
  type PublishedPolicy,
} from '../../protocol/control/published-policy.ts';
import { compareAttachments } from './attachments-audit.ts';
import { receiptMessage, sumsOf } from '../../protocol/control/receipt-message.ts';
import { requireNotOlder } from '../../protocol/control/receipt-time.ts';
import { readReceipt, SIGNATURE_LIMIT, type FoundReceipt } from '../../protocol/control/receipt.ts';
import type { Receipt } from '../../protocol/control/receipt-schema.ts';
import type { ControlRepository } from '../../protocol/control/repository.ts';
import { parseTrailers } from '../../lib/git/trailers.ts';
import type { RequestedFile } from '../../protocol/control/zipname.ts';
import { invalid } from '../../lib/errors.ts';
import { onlyOwner } from '../../protocol/control/receipts-owner.ts';
import { requireCancellation } from './cancellation-audit.ts';
import { requireDetached } from './detached-signature.ts';
import { Findings } from './findings.ts';
import type { AuditRow, AuditedFile, Problem } from './model.ts';
import {
  auditRequest,
  compareWithRequest,
  hasSigned,
  identityOf,
  reportDamage,
  type AuditedRequest,
} from './request-audit.ts';
import { answeredRow, unreadRow } from './build-rows.ts';

/** The largest SHA256SUMS, in bytes. */
const SUMS_LIMIT = 1024 * 1024;

/** What receipts are checked against. */
export interface ReceiptContext {
  readonly repository: ControlRepository;
  /** The head of the request branch. */
  readonly requests: string | null;
  /** Who may sign requests and vouches. */
  readonly allowed: AllowedSigners;
  /** Who may sign receipts. */
  readonly receiptSigners: AllowedSigners;
  /** The key (`SHA256:…`) that the branch belongs to; null if any key in `receiptSigners` may sign. */
  readonly onlyKey: string | null;
  readonly now: Date;
}

/** A commit of the receipt branch, and the commit that it should follow. */
export interface ReceiptCommit {
  readonly id: string;
  readonly previous: string;
}

/** A commit of the receipt branch, checked alone and against its request; plain data. */
export interface AuditedReceipt {
  readonly id: string;
  /** Null for a commit that does not look like an answer. */
  readonly row: AuditRow | null;
  readonly signedByOwner: boolean;
  /** `identityOf` the request. */
  readonly identity: string | null;
  readonly problems: readonly Problem[];
  /** The files of the request, if there are vouches to check against them. */
  readonly requested: readonly RequestedFile[];
  /** The names in the requester's certificate, if there are vouches to check. */
  readonly requesterNames: readonly string[];
}

/**
 * Checks one commit of the receipt branch and reports every fault, not only the first. What depends on the rest of the
 * history (is the request on its branch? answered before? do the vouches exist?) is checked by `CrossChecks`.
 */
export async function auditReceipt(
  context: ReceiptContext,
  { id, previous }: ReceiptCommit,
): Promise<AuditedReceipt> {
  const findings = new Findings(id);
  const { problems } = findings;
  const nothing = {
    row: null,
    id,
    signedByOwner: false,
    identity: null,
    problems,
    requested: [],
    requesterNames: [],
  };
  const commit = await findings.try(() => context.repository.readCommit(id));
  if (!commit) return nothing;
  if (commit.parents[0] !== previous)
    findings.add('receipt-link', `it does not follow ${shortId(previous)}, the receipt before it`);
  const [, request, ...more] = commit.parents;
  if (request === undefined || more.length > 0) {
    await requirePolicyCommit(context, commit, findings);
    return nothing;
  }
  const audited = await readAnswered(context, request, findings);
  const signedByOwner = await isByOwner(context, commit, findings);
  // A receipt without a trusted signature is not read: its statements would look true in a table.
  const answer = signedByOwner ? await findings.try(() => readReceipt(context.repository, id)) : undefined;
  if (!answer) return { ...nothing, signedByOwner, row: unreadRow(request, commit, audited, problems) };
  const files = await compareParts(context, commit, answer.receipt, findings);
  if (audited) await compareAnswer(context, answer, audited, findings);
  const vouched = answer.receipt.vouches.length > 0;
  const requested = (vouched && audited?.request.files) || [];
  const requesterNames = (vouched && audited?.by?.certified) || [];
  return {
    id,
    signedByOwner,
    problems,
    identity: audited && identityOf(audited),
    requested,
    requesterNames,
    row: answeredRow(answer, audited, files, problems),
  };
}

/** A commit that is not an answer must be a change of the published policy, signed like a receipt. */
async function requirePolicyCommit(
  context: ReceiptContext,
  commit: Commit,
  findings: Findings,
): Promise<void> {
  await isByOwner(context, commit, findings);
  if ((await findings.try(() => isPolicyCommit(context.repository, commit))) === false)
    findings.add(
      'receipt-not-one',
      'it is on the receipt branch, but is neither an answer to one request nor a change of policy',
    );
}

/** The request that a receipt answers, as far as it can be read. */
async function readAnswered(
  { repository, allowed }: ReceiptContext,
  request: string,
  findings: Findings,
): Promise<AuditedRequest | null> {
  const audited = await findings.try(() => auditRequest(repository, request, allowed));
  if (audited) reportDamage(audited, findings);
  return audited ?? null;
}

/** Whether the receipt's commit is signed by an allowed signer with the key that the branch belongs to. */
async function isByOwner(
  { receiptSigners, onlyKey }: ReceiptContext,
  commit: Commit,
  findings: Findings,
): Promise<boolean> {
  const holds = await findings.try(() => {
    const signers = onlyKey === null ? receiptSigners : onlyOwner(receiptSigners, onlyKey);
    verifyCommitSignature(commit.raw, signers);
    return true;
  });
  return holds === true;
}

/** Checks message, SHA256SUMS and detached signatures against receipt.json. */
async function compareParts(
  context: ReceiptContext,
  commit: Commit,
  receipt: Receipt,
  findings: Findings,
): Promise<AuditedFile[]> {
  compareMessage(commit, receipt, findings);
  const entries = (await findings.try(() => context.repository.readTree(commit.tree))) ?? [];
  await findings.try(() => requireSums(context.repository, entries, receipt));
  await compareAttachments(context.repository, { commit, entries }, receipt, findings);
  return compareSignatures(context, entries, receipt, findings);
}

const trailerLines = (message: string): string[] =>
  parseTrailers(message).map(({ key, value }) => `${key.toLowerCase()}: ${value}`);

/** Checks the trailers of a message against the receipt; later versions may word the rest differently. */
function compareMessage({ message }: Commit, receipt: Receipt, findings: Findings): void {
  const expected = receiptMessage(receipt);
  if (message === expected) return;
  const required = trailerLines(expected);
  const keys = new Set(required.map((line) => line.slice(0, line.indexOf(':'))));
  const actual = trailerLines(message).filter((line) => keys.has(line.slice(0, line.indexOf(':'))));
  const difference =
    required.find((line) => !actual.includes(line)) ?? actual.find((line) => !required.includes(line));
  if (difference !== undefined || required.length !== actual.length)
    findings.add(
      'receipt-message-differs',
      `its message and its receipt.json do not say the same: ${difference ?? 'a trailer is repeated'}`,
    );
}

async function requireSums(
  repository: ControlRepository,
  entries: readonly TreeEntry[],
  receipt: Receipt,
): Promise<void> {
  const entry = entries.find(({ name }) => name === 'SHA256SUMS');
  const sums = entry ? (await repository.readEntry(entry, 'SHA256SUMS', SUMS_LIMIT)).toString('utf8') : '';
  if (sums !== sumsOf(receipt))
    throw invalid('receipt-sums-differ', 'its SHA256SUMS and its receipt.json do not say the same');
}

/** Checks the detached signature of each entry, and reports signatures that no entry names. */
async function compareSignatures(
  context: ReceiptContext,
  entries: readonly TreeEntry[],
  receipt: Receipt,
  findings: Findings,
): Promise<AuditedFile[]> {
  const folder = entries.find(({ name }) => name === 'signatures');
  const signatures =
    folder?.kind === 'tree' ? ((await findings.try(() => context.repository.readTree(folder.id))) ?? []) : [];
  const blobs = new Map(signatures.map((entry) => [`signatures/${entry.name}`, entry]));
  const files: AuditedFile[] = [];
  for (const file of receipt.files) {
    const holds = file.signed.map(async (entry) => {
      const proven = await findings.try(() => requireSignature(context, blobs, entry, receipt));
      return { ...entry, proven: proven === true };
    });
    files.push({ ...file, signed: await Promise.all(holds) });
  }
  const namedPaths = new Set(receipt.files.flatMap(({ signed }) => signed.map(({ signature }) => signature)));
  for (const path of blobs.keys())
    if (!namedPaths.has(path))
      findings.add('receipt-stray-signature', `${path} belongs to no program that it names`);
  return files;
}

async function requireSignature(
  { repository, now }: ReceiptContext,
  blobs: ReadonlyMap<string, TreeEntry>,
  entry: Receipt['files'][number]['signed'][number],
  { certificate, identity }: Receipt,
): Promise<true> {
  const blob = blobs.get(entry.signature);
  const what = entry.path === '' ? entry.signature : `${entry.signature} of ${entry.path}`;
  if (!blob) throw invalid('receipt-no-signature', `${what} is not there`);
  const detached = await repository.readEntry(blob, entry.signature, SIGNATURE_LIMIT);
  await requireDetached(detached, entry, {
    certificate: entry.certificate ?? certificate?.sha256 ?? '',
    identity,
    now,
    what,
  });
  return true;
}

/** Checks what the receipt says about its request, and the policy under which it was signed. */
async function compareAnswer(
  { repository, requests, allowed, now }: ReceiptContext,
  { commit, receipt }: FoundReceipt,
  audited: AuditedRequest,
  findings: Findings,
): Promise<void> {
  findings.check(() => requireNotOlder(commit.committer.at, audited.request));
  const policy = await findings.try(() => readPolicy(repository, commit));
  const channel = channelIn(policy, receipt.request.channel);
  const acceptUnsigned = channel?.unsignedRequests === 'accept';
  compareWithRequest(receipt, audited, findings, acceptUnsigned);
  await findings.try(() =>
    requireCancellation({ repository, requests, allowed, now, acceptUnsigned }, receipt, audited),
  );
  requireEnoughVouches(receipt, channel, findings);
}

/** Checks the number of vouches against the policy in the same commit. */
function requireEnoughVouches(
  receipt: Receipt,
  channel: PublishedPolicy['channels'][string] | undefined,
  findings: Findings,
): void {
  const { vouches } = receipt;
  if (channel && hasSigned(receipt) && vouches.length < channel.vouches)
    findings.add(
      'vouches-too-few',
      `it was signed with ${vouches.length} of the ${channel.vouches} vouches that its policy asks for`,
    );
}

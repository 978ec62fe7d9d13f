import type { AllowedSigners } from '../../lib/sshsig/allowed-signers.ts';
import { verifyCommitSignature } from '../../lib/git/commit-signature.ts';
import { shortId, type Commit, type TreeEntry } from '../../lib/git/objects.ts';
import { channelIn } from '../../protocol/control/published-policy.ts';
import { receiptMessage, sumsOf } from '../../protocol/control/receipt-message.ts';
import { requireNotOlder } from '../../protocol/control/receipt-time.ts';
import {
  isPolicyCommit,
  readPolicy,
  readReceipt,
  SIGNATURE_LIMIT,
  type FoundReceipt,
  type PublishedPolicy,
  type Receipt,
} from '../../protocol/control/receipt.ts';
import type { ControlRepository } from '../../protocol/control/repository.ts';
import { parseTrailers } from '../../lib/git/trailers.ts';
import type { RequestedFile } from '../../protocol/control/zipname.ts';
import { invalid, notAllowed } from '../../lib/errors.ts';
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

/** The largest list of sums, in bytes. */
const SUMS_LIMIT = 1024 * 1024;

/** What receipts are held to. */
export interface ReceiptContext {
  readonly repository: ControlRepository;
  /** Who may have signed requests and vouches. */
  readonly allowed: AllowedSigners;
  /** Who may have signed receipts. */
  readonly receiptSigners: AllowedSigners;
  /** The one of their keys (`SHA256:…`) that the branch belongs to; null for any of them. */
  readonly onlyKey: string | null;
  readonly now: Date;
}

/** A commit of the receipt branch, and the one that it should follow. */
export interface Step {
  readonly id: string;
  readonly previous: string;
}

/** A commit of the receipt branch, judged by itself and by its request. Made of nothing but data. */
export interface AuditedReceipt {
  readonly id: string;
  /** Null for a commit that does not even look like an answer. */
  readonly row: AuditRow | null;
  readonly signedByOwner: boolean;
  /** `identityOf` the request. */
  readonly identity: string | null;
  readonly problems: readonly Problem[];
  /** What the request names, where vouches are to be held to it. */
  readonly requested: readonly RequestedFile[];
  /** The names that say who made the request, to the same end. */
  readonly requesterNames: readonly string[];
}

/**
 * Judges one commit of the receipt branch. Every fault is found, not only the first. What the rest of the history
 * decides (is it on the request branch? answered before? do the vouches stand?) is asked elsewhere.
 */
export async function auditReceipt(context: ReceiptContext, { id, previous }: Step): Promise<AuditedReceipt> {
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
  // What nobody whom we trust has signed is not read: it would only stand in a table as if it were so.
  const found = signedByOwner ? await findings.try(() => readReceipt(context.repository, id)) : undefined;
  if (!found) return { ...nothing, signedByOwner, row: unreadRow(request, commit, audited, problems) };
  const files = await compareParts(context, commit, found.receipt, findings);
  if (audited) await compareAnswer(context, found, audited, findings);
  const vouched = found.receipt.vouches.length > 0;
  const requested = (vouched && audited?.request.files) || [];
  const requesterNames = (vouched && audited?.by?.certified) || [];
  return {
    id,
    signedByOwner,
    problems,
    identity: audited && identityOf(audited),
    requested,
    requesterNames,
    row: answeredRow(found, audited, files, problems),
  };
}

/** What answers nothing has to be a change of the published policy, and to be signed like a receipt. */
async function requirePolicyCommit(
  context: ReceiptContext,
  commit: Commit,
  findings: Findings,
): Promise<void> {
  await isByOwner(context, commit, findings);
  if ((await findings.try(() => isPolicyCommit(context.repository, commit))) === false)
    findings.add(
      'receipt-not-one',
      'it is on the receipt branch, and is neither an answer to one request nor a change of policy',
    );
}

/** The request that a receipt follows, as far as it can be read. */
async function readAnswered(
  { repository, allowed }: ReceiptContext,
  request: string,
  findings: Findings,
): Promise<AuditedRequest | null> {
  const audited = await findings.try(() => auditRequest(repository, request, allowed));
  if (audited) reportDamage(audited, findings);
  return audited ?? null;
}

/** Whether the receipt's commit is signed by who may, with the key that the branch belongs to. */
async function isByOwner(
  { receiptSigners, onlyKey }: ReceiptContext,
  commit: Commit,
  findings: Findings,
): Promise<boolean> {
  const holds = await findings.try(() => {
    const { fingerprint, principal } = verifyCommitSignature(commit.raw, receiptSigners);
    if (onlyKey !== null && fingerprint !== onlyKey)
      throw notAllowed(
        'receipt-foreign-key',
        `it is signed by ${principal} with ${fingerprint}, which is not the key that the receipt branch belongs to`,
      );
    return true;
  });
  return holds === true;
}

/** Message, sums and detached signatures against receipt.json. */
async function compareParts(
  context: ReceiptContext,
  commit: Commit,
  receipt: Receipt,
  findings: Findings,
): Promise<AuditedFile[]> {
  compareMessage(commit, receipt, findings);
  const entries = (await findings.try(() => context.repository.readTree(commit.tree))) ?? [];
  await findings.try(() => requireSums(context.repository, entries, receipt));
  return compareSignatures(context, entries, receipt, findings);
}

const trailerLines = (message: string): string[] =>
  parseTrailers(message).map(({ key, value }) => `${key.toLowerCase()}: ${value}`);

/** A later version may word its messages differently; what its trailers state has to be what the receipt states. */
function compareMessage({ message }: Commit, receipt: Receipt, findings: Findings): void {
  const expected = receiptMessage(receipt);
  if (message === expected) return;
  const wanted = trailerLines(expected);
  const keys = new Set(wanted.map((line) => line.slice(0, line.indexOf(':'))));
  const actual = trailerLines(message).filter((line) => keys.has(line.slice(0, line.indexOf(':'))));
  const odd = wanted.find((line) => !actual.includes(line)) ?? actual.find((line) => !wanted.includes(line));
  if (odd !== undefined || wanted.length !== actual.length)
    findings.add(
      'receipt-message-differs',
      `its message and its receipt.json do not say the same: ${odd ?? 'a trailer is repeated'}`,
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

/** Each entry with whether its detached signature holds; signatures that no entry names are a finding. */
async function compareSignatures(
  context: ReceiptContext,
  entries: readonly TreeEntry[],
  receipt: Receipt,
  findings: Findings,
): Promise<AuditedFile[]> {
  const folder = entries.find(({ name }) => name === 'signatures');
  const there =
    folder?.kind === 'tree' ? ((await findings.try(() => context.repository.readTree(folder.id))) ?? []) : [];
  const blobs = new Map(there.map((entry) => [`signatures/${entry.name}`, entry]));
  const files: AuditedFile[] = [];
  for (const file of receipt.files) {
    const holds = file.signed.map(async (entry) => {
      const proven = await findings.try(() => requireSignature(context, blobs, entry, receipt));
      return { ...entry, proven: proven === true };
    });
    files.push({ ...file, signed: await Promise.all(holds) });
  }
  const named = new Set(receipt.files.flatMap(({ signed }) => signed.map(({ signature }) => signature)));
  for (const path of blobs.keys())
    if (!named.has(path)) findings.add('receipt-stray-signature', `${path} belongs to nothing that it names`);
  return files;
}

async function requireSignature(
  { repository, now }: ReceiptContext,
  blobs: ReadonlyMap<string, TreeEntry>,
  entry: Receipt['files'][number]['signed'][number],
  { certificate }: Receipt,
): Promise<true> {
  const blob = blobs.get(entry.signature);
  const what = entry.path === '' ? entry.signature : `${entry.signature} of ${entry.path}`;
  if (!blob) throw invalid('receipt-no-signature', `${what} is not there`);
  const der = await repository.readEntry(blob, entry.signature, SIGNATURE_LIMIT);
  requireDetached(der, entry, { certificate: certificate?.sha256 ?? '', now, what });
  return true;
}

/** What the receipt says of its request, and under which policy it was signed. */
async function compareAnswer(
  { repository }: ReceiptContext,
  { commit, receipt }: FoundReceipt,
  audited: AuditedRequest,
  findings: Findings,
): Promise<void> {
  findings.check(() => requireNotOlder(commit.committer.at, audited.request));
  const policy = await findings.try(() => readPolicy(repository, commit));
  const channel = channelIn(policy, receipt.request.channel);
  compareWithRequest(receipt, audited, findings, channel?.unsignedRequests === 'accept');
  requireEnoughVouches(receipt, channel, findings);
}

/** The policy that the signer published with this very receipt says how many it takes. */
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

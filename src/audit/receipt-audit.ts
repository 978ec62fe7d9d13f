import type { AllowedSigners } from '../control/allowed-signers.ts';
import { verifyCommitSignature } from '../control/commit-signature.ts';
import { shortId, type Commit, type TreeEntry } from '../control/objects.ts';
import { receiptMessage, sumsOf } from '../control/receipt-message.ts';
import {
  isPolicyCommit,
  readPolicy,
  readReceipt,
  type FoundReceipt,
  type PublishedPolicy,
  type Receipt,
} from '../control/receipt.ts';
import type { ControlRepository } from '../control/repository.ts';
import { parseTrailers } from '../control/trailers.ts';
import { invalid, notAllowed } from '../errors.ts';
import { requireDetached } from './detached-signature.ts';
import { Findings } from './findings.ts';
import type { AuditRow, AuditedFile, Problem } from './model.ts';
import {
  auditRequest,
  compareWithRequest,
  hasSigned,
  provenBy,
  reportDamage,
  type AuditedRequest,
} from './request-audit.ts';
import { answeredRow, unreadRow } from './rows.ts';
import { repeats, type Vouches } from './vouches.ts';

/** The largest detached signature and list of sums, in bytes. */
const SIGNATURE_LIMIT = 4 * 1024 * 1024;
const SUMS_LIMIT = 1024 * 1024;

/** What receipts are held to. */
export interface ReceiptContext {
  readonly repository: ControlRepository;
  /** Who may have signed requests and vouches. */
  readonly allowed: AllowedSigners;
  /** Who may have signed receipts. */
  readonly receiptSigners: AllowedSigners;
  /** Whether receipts may be signed with this key (`SHA256:…`), of all that `receiptSigners` lists. */
  readonly isReceiptKey: (fingerprint: string) => boolean;
  /** The requests, and every commit, in the history of the request branch. */
  readonly requests: ReadonlySet<string>;
  readonly history: ReadonlySet<string>;
  readonly vouches: Vouches;
  readonly now: Date;
}

/** A commit of the receipt branch, judged. */
export interface AuditedReceipt {
  /** Null for a commit that does not even look like an answer. */
  readonly row: AuditRow | null;
  /** The receipt's commit, and that its signature holds. */
  readonly id: string;
  readonly signedByOwner: boolean;
  readonly problems: readonly Problem[];
}

/** Judges one commit that follows `previous` on the receipt branch. Every fault is found, not only the first. */
export async function auditReceipt(
  context: ReceiptContext,
  id: string,
  previous: string,
): Promise<AuditedReceipt> {
  const findings = new Findings(id);
  const nothing = { row: null, id, signedByOwner: false, problems: findings.problems };
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
  if (!found)
    return { ...nothing, signedByOwner, row: unreadRow(request, commit, audited, findings.problems) };
  const { receipt } = found;
  const files = await compareParts(context, commit, receipt, findings);
  if (audited) await compareAnswer(context, found, audited, findings);
  return {
    id,
    signedByOwner,
    problems: findings.problems,
    row: answeredRow(found, audited, files, findings.problems),
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

/** The request that a receipt follows; a commit that is none, or that the request branch does not have, is a finding. */
async function readAnswered(
  { repository, allowed, requests, history }: ReceiptContext,
  request: string,
  findings: Findings,
): Promise<AuditedRequest | null> {
  const id = shortId(request);
  if (!history.has(request))
    findings.add('request-elsewhere', `it answers ${id}, which the request branch does not have`);
  else if (!requests.has(request))
    findings.add('request-none', `it answers ${id}, which asks for nothing: zipname is as it was before`);
  const audited = await findings.try(() => auditRequest(repository, request, allowed));
  if (audited) reportDamage(audited, findings);
  return audited ?? null;
}

/** Whether the receipt's commit is signed by who may, with the key that the branch belongs to. */
async function isByOwner(
  { receiptSigners, isReceiptKey }: ReceiptContext,
  commit: Commit,
  findings: Findings,
): Promise<boolean> {
  const holds = await findings.try(() => {
    const { fingerprint, principal } = verifyCommitSignature(commit.raw, receiptSigners);
    if (!isReceiptKey(fingerprint))
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

/** What the receipt says of its request and of vouches. */
async function compareAnswer(
  { repository, vouches }: ReceiptContext,
  { commit, receipt }: FoundReceipt,
  audited: AuditedRequest,
  findings: Findings,
): Promise<void> {
  const policy = await findings.try(() => readPolicy(repository, commit));
  const channel = policy?.channels[receipt.request.channel];
  compareWithRequest(receipt, audited, findings, channel?.unsignedRequests === 'accept');
  requireEnoughVouches(receipt, channel, findings);
  const requester = provenBy(audited);
  for (const [i, vouch] of receipt.vouches.entries()) {
    await findings.try(() => vouches.require(vouch, audited.request, requester));
    if (receipt.vouches.slice(0, i).some((each) => repeats(each, vouch)))
      findings.add('vouch-repeated', `it counts ${vouch.signer} twice`);
  }
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

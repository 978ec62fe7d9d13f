import { z } from 'zod';
import { invalid, SignpipeError } from '../../lib/errors.ts';
import type { CommitRef } from '../../lib/git/first-parent-walk.ts';
import { objectId, serializeTree, shortId, type Commit, type GitIdentity } from '../../lib/git/objects.ts';
import type { NewObject } from '../../lib/git/packfile.ts';
import { POLICY, policyBytes, type PublishedPolicy } from './published-policy.ts';
import { receiptMessage, sumsOf } from './receipt-message.ts';
import { receiptProblem, receiptSchema, type Receipt } from './receipt-schema.ts';
import type { ControlRepository, Heads } from './repository.ts';
import { requestsAmong } from './request.ts';
import { publicKeyLine } from '../../lib/sshsig/ssh-key.ts';
import { writeCommit, type CommitSigner } from './write-commit.ts';

export { RECEIPT_VERSION, receiptJsonSchema, receiptSchema } from './receipt-schema.ts';
export type { Receipt, ReceiptEntry, ReceiptFile } from './receipt-schema.ts';
export { isPolicyCommit, readPolicy, type PublishedPolicy } from './published-policy.ts';

/** The largest `receipt.json` in bytes: about 15,000 signed programs. */
export const RECEIPT_LIMIT = 16 * 1024 * 1024;
/** The largest detached signature, in bytes. */
export const SIGNATURE_LIMIT = 4 * 1024 * 1024;
const OWNER_LIMIT = 64 * 1024;

/** The file in the first commit on the receipt branch that says whose receipts these are. */
export const OWNER = 'signer.json';

/** Who writes receipts: the name on the commits, and the key that signs them. */
export interface ReceiptWriter {
  /** An `SshSigner`: its public key, in wire form, and `SHA256:` fingerprint go into `signer.json`. */
  signer: CommitSigner & { readonly publicKey: Buffer; readonly fingerprint: string };
  identity: GitIdentity;
  /** What is published with every commit, as it is then; nothing unless given. */
  readonly policy?: PublishedPolicy;
}

const policyFile = ({ policy }: ReceiptWriter): Record<string, Buffer> =>
  policy === undefined ? {} : { [POLICY]: policyBytes(policy) };

const ownerSchema = z.object({
  version: z.literal(1),
  name: z.string().max(256),
  publicKey: z.string().max(16384),
  fingerprint: z.string().max(128),
  created: z.iso.datetime(),
});

/** `signer.json` of the first commit on the receipt branch: whose receipts these are. */
export type ReceiptsOwner = z.infer<typeof ownerSchema>;

const json = (value: unknown): Buffer => Buffer.from(`${JSON.stringify(value, null, 2)}\n`);

/** Files of the topmost folder as blobs, and the tree over them and over `folders`. */
function treeOf(
  files: Record<string, Buffer>,
  folders: Record<string, Buffer> = {},
): { id: string; objects: NewObject[] } {
  const blobs = Object.values(files).map((content): NewObject => ({ type: 'blob', content }));
  const trees = Object.values(folders).map((content): NewObject => ({ type: 'tree', content }));
  const top = serializeTree([
    ...Object.entries(files).map(([name, content]) => ({
      mode: '100644',
      name,
      id: objectId('blob', content),
    })),
    ...Object.entries(folders).map(([name, content]) => ({
      mode: '40000',
      name,
      id: objectId('tree', content),
    })),
  ]);
  return { id: objectId('tree', top), objects: [...blobs, ...trees, { type: 'tree', content: top }] };
}

/** Writes the commit that the receipt branch begins with: `signer.json`, signed by the key that it names. */
export function createReceiptRoot(
  repository: ControlRepository,
  writer: ReceiptWriter,
  at: Date,
): Promise<string> {
  const { identity, signer } = writer;
  const { publicKey, fingerprint } = signer;
  const owner: ReceiptsOwner = {
    version: 1,
    name: identity.name,
    publicKey: publicKeyLine(publicKey),
    fingerprint,
    created: at.toISOString(),
  };
  const tree = treeOf({ ...policyFile(writer), [OWNER]: json(ownerSchema.parse(owner)) });
  const message = `receipts of ${identity.name}\n\nEach commit from here on answers one request or publishes a changed policy, and is signed by ${fingerprint}.\n`;
  return writeCommit(
    repository,
    tree.objects,
    { tree: tree.id, parents: [], identity, at, message },
    writer.signer,
  );
}

/** Begins the receipt branch; its first commit, or `lost-race` when it was begun elsewhere meanwhile. */
export async function openReceipts(
  repository: ControlRepository,
  writer: ReceiptWriter,
  at: Date,
): Promise<{ result: 'pushed' | 'lost-race'; id: string }> {
  const id = await createReceiptRoot(repository, writer, at);
  return { result: await repository.push(repository.branches.receipts, id, null), id };
}

/** Publishes the writer's policy after `parent`, in a commit that answers nothing; `lost-race` when the branch has moved on. */
export async function appendPolicy(
  repository: ControlRepository,
  writer: ReceiptWriter,
  { parent, at }: { parent: string; at: Date },
): Promise<{ result: 'pushed' | 'lost-race'; id: string }> {
  const { identity, signer } = writer;
  const tree = treeOf(policyFile(writer));
  const message = `policy of ${identity.name} changed\n`;
  const commit = { tree: tree.id, parents: [parent], identity, at, message };
  const id = await writeCommit(repository, tree.objects, commit, signer);
  return { result: await repository.push(repository.branches.receipts, id, parent), id };
}

/** Whose receipts a branch holds, as its first commit says (that commit's signature is the caller's to check). */
export async function readReceiptsOwner(
  repository: ControlRepository,
  tip: string,
): Promise<{ owner: ReceiptsOwner; commit: Commit }> {
  const root = (await repository.firstParents(tip)).at(-1);
  const commit = await repository.readCommit(root?.id ?? tip);
  const bytes = await repository.readFileAt(commit, OWNER, OWNER_LIMIT);
  const owner = ownerSchema.safeParse(bytes && parseJson(bytes, OWNER));
  if (!owner.success)
    throw invalid(
      'receipts-root',
      `the receipt branch begins with ${shortId(commit.id)}, which does not say whose it is`,
    );
  return { owner: owner.data, commit };
}

/** Everything that goes into a receipt commit; equal input gives an equal commit where the key's signatures are deterministic (Ed25519). */
export interface NewReceipt {
  /** The receipt before this one, or the branch's first commit. */
  parent: string;
  receipt: Receipt;
  /** Detached signatures (PKCS #7, DER) by the SHA-256 of the unsigned bytes: exactly those that the receipt names. */
  signatures: ReadonlyMap<string, Buffer>;
  /** The commit's time. */
  at: Date;
}

function requireSound(receipt: Receipt, signatures: ReadonlyMap<string, Buffer>): Receipt {
  const parsed = receiptSchema.parse(receipt);
  const named = new Set(parsed.files.flatMap((file) => file.signed.map((entry) => entry.before.sha256)));
  const problem =
    receiptProblem(parsed) ??
    (named.size === signatures.size && [...named].every((hash) => signatures.has(hash))
      ? null
      : 'names other signatures than were given');
  if (problem !== null)
    throw new SignpipeError(
      'local',
      'receipt-unsound',
      `receipt of ${shortId(parsed.request.id)} ${problem}`,
    );
  return parsed;
}

/** Writes a receipt commit into the clone and gives its id. Pushing it is another step. */
export async function createReceiptCommit(
  repository: ControlRepository,
  writer: ReceiptWriter,
  { parent, receipt, signatures, at }: NewReceipt,
): Promise<string> {
  const sound = requireSound(receipt, signatures);
  const blobs = [...signatures].map(([hash, content]) => ({ name: `${hash}.p7`, content }));
  const folder = serializeTree(
    blobs.map(({ name, content }) => ({ mode: '100644', name, id: objectId('blob', content) })),
  );
  const sums = sumsOf(sound);
  const tree = treeOf(
    {
      ...policyFile(writer),
      'receipt.json': json(sound),
      ...(sums === '' ? {} : { SHA256SUMS: Buffer.from(sums) }),
    },
    blobs.length > 0 ? { signatures: folder } : {},
  );
  const objects = [...blobs.map(({ content }): NewObject => ({ type: 'blob', content })), ...tree.objects];
  const parents = [parent, sound.request.id];
  const commit = { tree: tree.id, parents, identity: writer.identity, at, message: receiptMessage(sound) };
  return writeCommit(repository, objects, commit, writer.signer);
}

/**
 * Writes a receipt and pushes it. `lost-race` means that the branch has moved on: fetch, look whether the
 * request has been answered meanwhile, and append to the new tip.
 */
export async function appendReceipt(
  repository: ControlRepository,
  writer: ReceiptWriter,
  receipt: NewReceipt,
): Promise<{ result: 'pushed' | 'lost-race'; id: string }> {
  const id = await createReceiptCommit(repository, writer, receipt);
  return { result: await repository.push(repository.branches.receipts, id, receipt.parent), id };
}

/** A receipt as found. Whether its commit is signed by whom we trust is the caller's to check, on `commit.raw`. */
export interface FoundReceipt {
  id: string;
  commit: Commit;
  receipt: Receipt;
  /** The detached signature of one entry, by the SHA-256 of its unsigned bytes. */
  signature(sha256: string): Promise<Buffer>;
}

function parseJson(bytes: Buffer, what: string): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw invalid('receipt-malformed', `${what} is not JSON`, { cause });
  }
}

function parseReceipt(bytes: Buffer, id: string): Receipt {
  const parsed = receiptSchema.safeParse(parseJson(bytes, `receipt.json of ${shortId(id)}`));
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw invalid(
      'receipt-malformed',
      `receipt ${shortId(id)}: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'is not a receipt'}`,
      { hint: 'was it written by a later version of signpipe?', cause: parsed.error },
    );
  }
  const problem = receiptProblem(parsed.data);
  if (problem !== null) throw invalid('receipt-malformed', `receipt ${shortId(id)} ${problem}`);
  return parsed.data;
}

/** Reads the receipt in a commit: bounded, of the right shape, and about the request that the commit follows. */
export async function readReceipt(repository: ControlRepository, id: string): Promise<FoundReceipt> {
  const commit = await repository.readCommit(id);
  const bytes = await repository.readFileAt(commit, 'receipt.json', RECEIPT_LIMIT);
  if (bytes === null || commit.parents.length !== 2)
    throw invalid('receipt-malformed', `commit ${shortId(id)} on the receipt branch is not a receipt`);
  const receipt = parseReceipt(bytes, id);
  if (receipt.request.id !== commit.parents[1])
    throw invalid(
      'receipt-mismatch',
      `receipt ${shortId(id)} speaks of request ${shortId(receipt.request.id)}, but follows another commit`,
    );
  const signature = async (sha256: string): Promise<Buffer> => {
    const content = await repository.readFileAt(commit, `signatures/${sha256}.p7`, SIGNATURE_LIMIT);
    if (content === null)
      throw invalid('receipt-no-signature', `receipt ${shortId(id)} has no signature for ${sha256}`);
    return content;
  };
  return { id, commit, receipt, signature };
}

/** One commit on the receipt branch. */
export interface ReceiptStep {
  id: string;
  /** The request that it answers: its second parent. Null for the branch's first commit, and for any that is no receipt. */
  request: string | null;
}

/** The commits that the receipt branch gained since `exclude` (null: all of them), oldest first. */
export async function receiptsSince(
  repository: ControlRepository,
  tip: string,
  exclude: string | null,
): Promise<ReceiptStep[]> {
  const line = await repository.firstParents(tip, exclude === null ? [] : [exclude]);
  return line
    .reverse()
    .map(({ id, parents }) => ({ id, request: parents.length === 2 ? (parents[1] ?? null) : null }));
}

/** Which receipt answers which request; where one was answered again, the later receipt. */
export async function answeredRequests(
  repository: ControlRepository,
  tip: string,
): Promise<Map<string, string>> {
  return answersIn(await receiptsSince(repository, tip, null));
}

const answersIn = (steps: readonly ReceiptStep[]): Map<string, string> =>
  new Map(steps.flatMap(({ id, request }) => (request === null ? [] : [[request, id]])));

/** Where a look at the history begins: after a commit of the request branch, with what the receipt branch stood at then. */
export interface LookAfter {
  requests: string;
  /** Null where there was no branch; undefined where that is not known. */
  receipts?: string | null | undefined;
}

/** Receipts by the request that they answer: at least those that answer one of these commits, which came after `after`. */
async function answersTo(
  repository: ControlRepository,
  commits: readonly CommitRef[],
  { requests, receipts }: { requests: string; receipts: string },
  after: LookAfter | null,
): Promise<ReadonlyMap<string, string>> {
  if (after?.receipts === undefined) return answeredRequests(repository, receipts);
  const before = after.receipts === null ? [] : [after.receipts];
  // A receipt has what it answers in its history: what no earlier one has, only later ones can answer.
  const unknown = await repository.commitRefsBetween(requests, [after.requests, ...before]);
  return unknown.length === commits.length
    ? answersIn(await receiptsSince(repository, receipts, after.receipts))
    : answeredRequests(repository, receipts);
}

/** The commits of the request branch that came after a look at it, parents before children; all if there was none. */
export const commitsAfter = (
  repository: ControlRepository,
  requests: string,
  after: LookAfter | null,
): Promise<CommitRef[]> => repository.commitRefsBetween(requests, after === null ? [] : [after.requests]);

/** The requests that no receipt answers, oldest first: all, or those that came to the branch after a commit. */
export async function unansweredRequests(
  repository: ControlRepository,
  heads: Pick<Heads, 'requests' | 'receipts'>,
  after: LookAfter | null = null,
): Promise<string[]> {
  if (heads.requests === null) return [];
  return unansweredAmong(repository, await commitsAfter(repository, heads.requests, after), heads, after);
}

/** The requests among the commits after a look that no receipt answers, in their order. */
export async function unansweredAmong(
  repository: ControlRepository,
  commits: readonly CommitRef[],
  { requests, receipts }: Pick<Heads, 'requests' | 'receipts'>,
  after: LookAfter | null,
): Promise<string[]> {
  if (requests === null || receipts === null || commits.length === 0)
    return requestsAmong(repository, commits);
  const answered = await answersTo(repository, commits, { requests, receipts }, after);
  return requestsAmong(
    repository,
    commits.filter(({ id }) => !answered.has(id)),
  );
}

/** The latest receipt that answers a request, or null. */
export async function findReceipt(
  repository: ControlRepository,
  tip: string,
  requestId: string,
): Promise<FoundReceipt | null> {
  const id = (await answeredRequests(repository, tip)).get(requestId);
  return id === undefined ? null : readReceipt(repository, id);
}

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

/** The file in the first commit on the receipt branch that names the owner of the receipts. */
export const OWNER = 'signer.json';

/** Who writes receipts: the name on the commits, and the key that signs them. */
export interface ReceiptWriter {
  /** An `SshSigner`: its public key, in wire form, and `SHA256:` fingerprint go into `signer.json`. */
  signer: CommitSigner & { readonly publicKey: Buffer; readonly fingerprint: string };
  identity: GitIdentity;
  /** Published with every commit, as it is then. */
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

/** `signer.json` of the first commit on the receipt branch: the owner of the receipts. */
type ReceiptsOwner = z.infer<typeof ownerSchema>;

const json = (value: unknown): Buffer => Buffer.from(`${JSON.stringify(value, null, 2)}\n`);

/** The root tree over some files and folders, and all objects to write for it. */
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

/** Writes the first commit of the receipt branch: `signer.json`, signed by the key that it names. */
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

/** Begins the receipt branch; `lost-race` if another process began it meanwhile. */
export async function openReceipts(
  repository: ControlRepository,
  writer: ReceiptWriter,
  at: Date,
): Promise<{ result: 'pushed' | 'lost-race'; id: string }> {
  const id = await createReceiptRoot(repository, writer, at);
  return { result: await repository.push(repository.branches.receipts, id, null), id };
}

/** Publishes the writer's policy after `parent`, in a commit that answers no request; `lost-race` if the branch has moved. */
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

/** The owner of a receipt branch, according to its first commit. The caller checks that commit's signature. */
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
      `the receipt branch begins with ${shortId(commit.id)}, which does not name its owner`,
    );
  return { owner: owner.data, commit };
}

/** The content of a receipt commit. Equal input yields an equal commit if the key's signatures are deterministic (Ed25519). */
interface NewReceipt {
  /** The receipt before this one, or the branch's first commit. */
  parent: string;
  receipt: Receipt;
  /** Detached signatures (PKCS #7, DER) by the SHA-256 of the unsigned bytes: those that the receipt names, and no others. */
  signatures: ReadonlyMap<string, Buffer>;
  /** The commit's time. */
  at: Date;
}

function requireSound(receipt: Receipt, signatures: ReadonlyMap<string, Buffer>): Receipt {
  const parsed = receiptSchema.parse(receipt);
  const hashes = new Set(parsed.files.flatMap((file) => file.signed.map((entry) => entry.before.sha256)));
  const problem =
    receiptProblem(parsed) ??
    (hashes.size === signatures.size && [...hashes].every((hash) => signatures.has(hash))
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

/** Writes a receipt commit into the clone and returns its id. It is not pushed. */
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
 * Writes a receipt and pushes it. `lost-race` means that the branch has moved: fetch, check whether the request has
 * been answered meanwhile, and append to the new tip.
 */
export async function appendReceipt(
  repository: ControlRepository,
  writer: ReceiptWriter,
  receipt: NewReceipt,
): Promise<{ result: 'pushed' | 'lost-race'; id: string }> {
  const id = await createReceiptCommit(repository, writer, receipt);
  return { result: await repository.push(repository.branches.receipts, id, receipt.parent), id };
}

/** A receipt read from its commit. The caller checks the commit's signature, on `commit.raw`. */
export interface FoundReceipt {
  id: string;
  commit: Commit;
  receipt: Receipt;
  /** The detached signature of the program with this SHA-256 of its unsigned bytes. */
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

/** Reads the receipt in a commit. Its size is bounded, its shape checked, and its request is the commit's second parent. */
export async function readReceipt(repository: ControlRepository, id: string): Promise<FoundReceipt> {
  const commit = await repository.readCommit(id);
  const bytes = await repository.readFileAt(commit, 'receipt.json', RECEIPT_LIMIT);
  if (bytes === null || commit.parents.length !== 2)
    throw invalid('receipt-malformed', `commit ${shortId(id)} on the receipt branch is not a receipt`);
  const receipt = parseReceipt(bytes, id);
  if (receipt.request.id !== commit.parents[1])
    throw invalid(
      'receipt-mismatch',
      `receipt ${shortId(id)} is about request ${shortId(receipt.request.id)}, but its second parent is another commit`,
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
interface ReceiptStep {
  id: string;
  /** The request that it answers: its second parent. Null if it is not a receipt, as the branch's first commit. */
  request: string | null;
}

/** The commits on the receipt branch since `exclude` (null: all), oldest first. */
export async function receiptsSince(
  repository: ControlRepository,
  tip: string,
  exclude: string | null,
): Promise<ReceiptStep[]> {
  const commits = await repository.firstParents(tip, exclude === null ? [] : [exclude]);
  return commits
    .reverse()
    .map(({ id, parents }) => ({ id, request: parents.length === 2 ? (parents[1] ?? null) : null }));
}

/** Receipts by the request that they answer; if a request has several, the latest. */
export async function answeredRequests(
  repository: ControlRepository,
  tip: string,
): Promise<Map<string, string>> {
  return answersIn(await receiptsSince(repository, tip, null));
}

const answersIn = (steps: readonly ReceiptStep[]): Map<string, string> =>
  new Map(steps.flatMap(({ id, request }) => (request === null ? [] : [[request, id]])));

/** Where a walk of the history begins: after a commit of the request branch, with the head of the receipt branch at that time. */
export interface LookAfter {
  requests: string;
  /** Null if there was no branch; undefined if it is unknown. */
  receipts?: string | null | undefined;
}

/** Receipts by the request that they answer: at least those that answer one of these commits, all later than `after`. */
async function answersTo(
  repository: ControlRepository,
  commits: readonly CommitRef[],
  { requests, receipts }: { requests: string; receipts: string },
  after: LookAfter | null,
): Promise<ReadonlyMap<string, string>> {
  if (after?.receipts === undefined) return answeredRequests(repository, receipts);
  const before = after.receipts === null ? [] : [after.receipts];
  // A receipt has the request that it answers in its history: requests that no earlier receipt has can only be answered by later ones.
  const unknown = await repository.commitRefsBetween(requests, [after.requests, ...before]);
  return unknown.length === commits.length
    ? answersIn(await receiptsSince(repository, receipts, after.receipts))
    : answeredRequests(repository, receipts);
}

/** The commits of the request branch later than `after`, parents before children; all if it is null. */
export const commitsAfter = (
  repository: ControlRepository,
  requests: string,
  after: LookAfter | null,
): Promise<CommitRef[]> => repository.commitRefsBetween(requests, after === null ? [] : [after.requests]);

/** The requests that no receipt answers, oldest first: all, or those later than `after`. */
export async function unansweredRequests(
  repository: ControlRepository,
  heads: Pick<Heads, 'requests' | 'receipts'>,
  after: LookAfter | null = null,
): Promise<string[]> {
  if (heads.requests === null) return [];
  return unansweredAmong(repository, await commitsAfter(repository, heads.requests, after), heads, after);
}

/** The requests among some commits, all later than `after`, that no receipt answers, in their order. */
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

/** The latest receipt for a request, or null. */
export async function findReceipt(
  repository: ControlRepository,
  tip: string,
  requestId: string,
): Promise<FoundReceipt | null> {
  const id = (await answeredRequests(repository, tip)).get(requestId);
  return id === undefined ? null : readReceipt(repository, id);
}

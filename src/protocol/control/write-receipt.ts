import { SignpipeError } from '../../lib/errors.ts';
import { objectId, serializeTree, shortId, type GitIdentity } from '../../lib/git/objects.ts';
import type { NewObject } from '../../lib/git/packfile.ts';
import { publicKeyLine } from '../../lib/sshsig/ssh-key.ts';
import { POLICY, policyBytes, type PublishedPolicy } from './published-policy.ts';
import { receiptMessage, sumsOf } from './receipt-message.ts';
import {
  attachmentsOf,
  receiptProblem,
  receiptSchema,
  signatureName,
  type Receipt,
} from './receipt-schema.ts';
import { OWNER, ownerSchema, type ReceiptsOwner } from './receipts-owner.ts';
import type { ControlRepository } from './repository.ts';
import { buildCommit, writeCommit, type BuiltCommit, type CommitSigner } from './write-commit.ts';

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
  return writeCommit(repository, tree.objects, { tree: tree.id, parents: [], identity, at, message }, signer);
}

interface PushedCommit {
  readonly result: 'pushed' | 'lost-race';
  readonly id: string;
}

/** Pushes a commit to the receipt branch; `lost-race` if it is no longer at `parent`. */
async function pushReceipts(
  repository: ControlRepository,
  id: string,
  parent: string | null,
): Promise<PushedCommit> {
  return { result: await repository.push(repository.branches.receipts, id, parent), id };
}

/** Begins the receipt branch; `lost-race` if another process began it meanwhile. */
export async function openReceipts(
  repository: ControlRepository,
  writer: ReceiptWriter,
  at: Date,
): Promise<PushedCommit> {
  const id = await createReceiptRoot(repository, writer, at);
  return pushReceipts(repository, id, null);
}

/** Publishes the writer's policy after `parent`, in a commit that answers no request; `lost-race` if the branch has moved. */
export async function appendPolicy(
  repository: ControlRepository,
  writer: ReceiptWriter,
  { parent, at }: { parent: string; at: Date },
): Promise<PushedCommit> {
  const { identity, signer } = writer;
  const tree = treeOf(policyFile(writer));
  const message = `policy of ${identity.name} changed\n`;
  const commit = { tree: tree.id, parents: [parent], identity, at, message };
  const id = await writeCommit(repository, tree.objects, commit, signer);
  return pushReceipts(repository, id, parent);
}

/** The content of a receipt commit. Equal input yields an equal commit if the key's signatures are deterministic (Ed25519). */
export interface NewReceipt {
  /** The receipt before this one, or the branch's first commit. */
  parent: string;
  receipt: Receipt;
  /** Detached signatures by their file names: those that the receipt names, and no others. */
  signatures: ReadonlyMap<string, Buffer>;
  /** What was delivered beside the files, by its SHA-256: what the receipt names as attachments, and nothing else. */
  attachments?: ReadonlyMap<string, Buffer> | undefined;
  /** The commit's time. */
  at: Date;
}

const areExactly = (names: readonly string[], given: ReadonlyMap<string, Buffer>): boolean =>
  new Set(names).size === given.size && names.every((name) => given.has(name));

function requireSound({
  receipt,
  signatures,
  attachments = new Map(),
}: Pick<NewReceipt, 'receipt' | 'signatures' | 'attachments'>): Receipt {
  const parsed = receiptSchema.parse(receipt);
  const names = parsed.files.flatMap((file) => file.signed.map(signatureName));
  const attached = attachmentsOf(parsed).map(({ sha256 }) => sha256);
  const problem =
    receiptProblem(parsed) ??
    (areExactly(names, signatures) ? null : 'names other signatures than were given') ??
    (areExactly(attached, attachments) ? null : 'names other attachments than were given');
  if (problem !== null)
    throw new SignpipeError(
      'local',
      'receipt-unsound',
      `receipt of ${shortId(parsed.request.id)} ${problem}`,
    );
  return parsed;
}

/** The content of a folder, and all objects to write for its files. */
function folderOf(files: ReadonlyMap<string, Buffer>): { content: Buffer; objects: NewObject[] } {
  const entries = [...files].map(([name, content]) => ({
    mode: '100644',
    name,
    id: objectId('blob', content),
  }));
  const objects = [...files.values()].map((content): NewObject => ({ type: 'blob', content }));
  return { content: serializeTree(entries), objects };
}

/** The commit of a receipt, with its objects. Nothing is written. */
async function buildReceipt(
  writer: ReceiptWriter,
  { parent, receipt, signatures, attachments = new Map(), at }: NewReceipt,
): Promise<BuiltCommit> {
  const sound = requireSound({ receipt, signatures, attachments });
  const detached = folderOf(signatures);
  const attached = folderOf(attachments);
  const sums = sumsOf(sound);
  const tree = treeOf(
    {
      ...policyFile(writer),
      'receipt.json': json(sound),
      ...(sums === '' ? {} : { SHA256SUMS: Buffer.from(sums) }),
    },
    {
      ...(signatures.size > 0 ? { signatures: detached.content } : {}),
      ...(attachments.size > 0 ? { attachments: attached.content } : {}),
    },
  );
  const parents = [parent, sound.request.id];
  const commit = { tree: tree.id, parents, identity: writer.identity, at, message: receiptMessage(sound) };
  const content = await buildCommit(commit, writer.signer);
  return {
    id: objectId('commit', content),
    objects: [...detached.objects, ...attached.objects, ...tree.objects, { type: 'commit', content }],
  };
}

/** Writes a receipt commit into the clone and returns its id. It is not pushed. */
export async function createReceiptCommit(
  repository: ControlRepository,
  writer: ReceiptWriter,
  receipt: NewReceipt,
): Promise<string> {
  const { id, objects } = await buildReceipt(writer, receipt);
  await repository.writeObjects(objects);
  return id;
}

/** The commits of some receipts, in their order. */
interface PushedReceipts {
  readonly result: PushedCommit['result'];
  readonly ids: readonly string[];
}

/**
 * Writes receipts, each after the one before it and the first after `parent`, and pushes them at once: all are on the
 * branch afterwards, or none. `lost-race` means that the branch has moved: fetch, check which of the requests have been
 * answered meanwhile, and append the others to the new tip.
 */
export async function appendReceipts(
  repository: ControlRepository,
  writer: ReceiptWriter,
  parent: string,
  receipts: readonly Omit<NewReceipt, 'parent'>[],
): Promise<PushedReceipts> {
  const built: BuiltCommit[] = [];
  for (const receipt of receipts)
    built.push(await buildReceipt(writer, { ...receipt, parent: built.at(-1)?.id ?? parent }));
  await repository.writeObjects(built.flatMap(({ objects }) => objects));
  const { result } = await pushReceipts(repository, built.at(-1)?.id ?? parent, parent);
  return { result, ids: built.map(({ id }) => id) };
}

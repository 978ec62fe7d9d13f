import { z } from 'zod';
import { invalid, notAllowed } from '../../lib/errors.ts';
import { verifyCommitSignature, type CommitSigners } from '../../lib/git/commit-signature.ts';
import { shortId, type Commit } from '../../lib/git/objects.ts';
import { isRefusal } from '../../lib/sshsig/allowed-signers.ts';
import { parsePublicKeyLine } from '../../lib/sshsig/ssh-key.ts';
import { parseJson } from './receipt.ts';
import type { ControlRepository } from './repository.ts';

const OWNER_LIMIT = 64 * 1024;

/** The file in the first commit on the receipt branch that names the owner of the receipts. */
export const OWNER = 'signer.json';

export const ownerSchema = z.object({
  version: z.literal(1),
  name: z.string().max(256),
  publicKey: z.string().max(16384),
  fingerprint: z.string().max(128),
  created: z.iso.datetime(),
});

/** `signer.json` of the first commit on the receipt branch: the owner of the receipts. */
export type ReceiptsOwner = z.infer<typeof ownerSchema>;

/** The owner of a receipt branch, according to its first commit. The caller checks that commit's signature. */
export async function readReceiptsOwner(
  repository: ControlRepository,
  tip: string,
): Promise<{ owner: ReceiptsOwner; commit: Commit }> {
  const root = (await repository.firstParents(tip)).at(-1);
  return readOwnerIn(repository, root?.id ?? tip);
}

async function readOwnerIn(
  repository: ControlRepository,
  root: string,
): Promise<{ readonly owner: ReceiptsOwner; readonly commit: Commit }> {
  const commit = await repository.readCommit(root);
  const bytes = await repository.readFileAt(commit, OWNER, OWNER_LIMIT);
  const owner = ownerSchema.safeParse(bytes && parseJson(bytes, OWNER));
  if (!owner.success)
    throw invalid(
      'receipts-root',
      `the receipt branch begins with ${shortId(commit.id)}, which does not name its owner`,
    );
  return { owner: owner.data, commit };
}

/** The owner of the receipts, proved by the first commit of the branch. */
export interface ProvenOwner {
  /** The name of its key in the reader's list. */
  readonly principal: string;
  /** `SHA256:` fingerprint. */
  readonly key: string;
  readonly name: string;
  /** The first commit. */
  readonly root: string;
}

/**
 * The owner of the receipts: the key that the branch's first commit names. Throws `receipts-root` unless that commit has
 * no parents and that key signed it, and as `verifyCommitSignature` does unless the key is among `signers`.
 */
export async function readProvenOwner(
  repository: ControlRepository,
  root: string,
  signers: CommitSigners,
): Promise<ProvenOwner> {
  const { owner, commit } = await readOwnerIn(repository, root);
  const { fingerprint } = parsePublicKeyLine(owner.publicKey, 'the key in signer.json');
  if (fingerprint !== owner.fingerprint || commit.parents.length > 0)
    throw notAllowed('receipts-root', 'the receipt branch does not begin with a sound signer.json');
  const by = verifyCommitSignature(commit.raw, signers);
  if (by.fingerprint !== fingerprint)
    throw notAllowed(
      'receipts-root',
      `the receipt branch says that it belongs to ${fingerprint}, but ${by.fingerprint} signed that`,
    );
  return { principal: by.principal, key: fingerprint, name: owner.name, root };
}

/**
 * Of a list of all signers, the one key that the receipt branch belongs to: otherwise a builder could answer requests. With
 * null, no key. A listed key that is another one is refused with `receipt-foreign-key`.
 */
export const onlyOwner = (signers: CommitSigners, owner: string | null): CommitSigners => ({
  find: (key, ...use) => {
    const verdict = signers.find(key, ...use);
    const { fingerprint } = key;
    if (isRefusal(verdict) || fingerprint === owner) return verdict;
    throw notAllowed(
      'receipt-foreign-key',
      `it is signed by ${verdict.principal} with ${fingerprint}, which is not the key that the receipt branch belongs to`,
    );
  },
  persons: () => signers.persons(),
});

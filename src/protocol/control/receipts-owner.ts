import { z } from 'zod';
import { invalid } from '../../lib/errors.ts';
import { shortId, type Commit } from '../../lib/git/objects.ts';
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

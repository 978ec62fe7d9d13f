import { verifyCommitSignature } from '../control/commit-signature.ts';
import { readPolicy, type PublishedPolicy } from '../control/receipt.ts';
import type { ControlRepository, Heads } from '../control/repository.ts';
import { notAllowed, SignpipeError } from '../errors.ts';
import { AllowedSigners } from '../sshsig/allowed-signers.ts';

/** The policy in the newest commit on the receipt branch, or null if there is none. Throws unless a trusted receipt key signed it. */
export async function trustedPolicy(
  repository: ControlRepository,
  tip: string | null,
  receiptSigners: AllowedSigners,
): Promise<PublishedPolicy | null> {
  if (tip === null) return null;
  const commit = await repository.readCommit(tip);
  verifyCommitSignature(commit.raw, receiptSigners);
  return readPolicy(repository, commit);
}

/** What is needed of `builder.yaml` or `voucher.yaml`. */
export interface RootConfig {
  readonly file: string;
  readonly control: { readonly roots?: readonly string[] | undefined };
  readonly trust?: { readonly allowedSigners: string } | undefined;
}

/** The roots that the signer published; null if they are not known, or not by a key that this builder trusts. */
async function publishedRoots(
  repository: ControlRepository,
  { receipts }: Heads,
  { trust }: RootConfig,
): Promise<readonly string[] | null> {
  if (!trust) return null;
  try {
    const signers = await AllowedSigners.load(trust.allowedSigners);
    return (await trustedPolicy(repository, receipts, signers))?.roots ?? null;
  } catch (error) {
    if (error instanceof SignpipeError && (error.kind === 'invalid' || error.kind === 'not-allowed'))
      return null;
    throw error;
  }
}

/**
 * The root that the line `Control:` of a new request or vouch names: a pinned one that the request branch descends
 * from. Pinned are `control.roots`, else the roots that the signer published; if neither is known, it is the root of
 * the branch's first-parent line. Null while there is no request branch. Throws `control-other-repository` if the
 * branch descends from no pinned root: the signer would reject what is committed there.
 */
export async function rootToName(
  repository: ControlRepository,
  heads: Heads,
  config: RootConfig,
): Promise<string | null> {
  const { requests } = heads;
  if (requests === null) return null;
  const pinned = config.control.roots ?? (await publishedRoots(repository, heads, config));
  if (pinned === null) return repository.firstRootOf(requests);
  for (const root of pinned) if (await repository.isAncestor(root, requests)) return root;
  throw notAllowed(
    'control-other-repository',
    `${repository.branches.requests} descends from none of the roots that ${config.control.roots ? `control.roots in ${config.file} has` : 'the signer pinned'}: ${pinned.join(', ')}`,
    {
      hint: 'does the Git host show another repository? Compare with a clone that you trust; nothing was committed',
    },
  );
}

import type { ControlRepository, Heads } from '../../protocol/control/repository.ts';
import { notAllowed } from '../../lib/errors.ts';
import { publishedPolicy } from './trusted-policy.ts';

/** What is needed of `builder.yaml` or `voucher.yaml`. */
export interface RootConfig {
  readonly file: string;
  readonly control: { readonly roots?: readonly string[] | undefined };
  readonly trust?: { readonly allowedSigners: string } | undefined;
}

/**
 * The root that the line `Control:` of a new request or vouch names: a pinned one that the request branch descends
 * from. Pinned are `control.roots`, else the roots that the signer published; if neither is known, it is the root of
 * the branch's first-parent line. Null while there is no request branch. Throws `control-other-repository` if the
 * branch descends from no pinned root: the signer would reject what is committed there.
 */
export async function rootForTrailer(
  repository: ControlRepository,
  heads: Heads,
  config: RootConfig,
): Promise<string | null> {
  const { requests } = heads;
  if (requests === null) return null;
  const pinned =
    config.control.roots ?? (await publishedPolicy(repository, heads.receipts, config.trust))?.roots;
  if (!pinned) return repository.firstParentRoot(requests);
  for (const root of pinned) if (await repository.isAncestor(root, requests)) return root;
  throw notAllowed(
    'control-other-repository',
    `${repository.branches.requests} descends from none of the roots that ${config.control.roots ? `control.roots in ${config.file} has` : 'the signer pinned'}: ${pinned.join(', ')}`,
    {
      hint: 'does the Git host show another repository? Compare with a clone that you trust; nothing was committed',
    },
  );
}

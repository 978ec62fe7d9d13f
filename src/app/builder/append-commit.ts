import { setTimeout as sleep } from 'node:timers/promises';
import type { ControlRepository, Heads } from '../../protocol/control/repository.ts';
import { notAllowed } from '../../lib/errors.ts';
import { publishedPolicy } from './trusted-policy.ts';

/** The part of `builder.yaml` or `voucher.yaml` that says which repository is meant. */
interface RootConfig {
  readonly file: string;
  readonly control: { readonly roots?: readonly string[] | undefined };
  readonly trust?: { readonly allowedSigners: string } | undefined;
}

const MAX_TRIES = 10;

/**
 * Appends a commit to a branch of the control repository and returns its id. `create` makes the commit from the
 * branch's tip, which `tipOf` finds, and the root for the trailer `Control:`. It is called again if another push came
 * first; null if that happens ten times.
 */
export async function appendCommit(
  { repository, config }: { readonly repository: ControlRepository; readonly config: RootConfig },
  branch: string,
  tipOf: (heads: Heads) => string | null,
  create: (parent: string | null, root: string | null) => Promise<string>,
): Promise<string | null> {
  for (let tries = 0; tries < MAX_TRIES; tries += 1) {
    const heads = await repository.fetch();
    const parent = tipOf(heads);
    const id = await create(parent, await rootForTrailer(repository, heads, config));
    if ((await repository.push(branch, id, parent)) === 'pushed') return id;
    // Many builders at once: each push that succeeds lets one of them through, so a pause in the order of a push helps.
    await sleep(Math.random() * 100 * tries);
  }
  return null;
}

/**
 * The root that the trailer `Control:` of a new request or vouch names: a pinned one that the request branch descends
 * from. Pinned are `control.roots`, else the roots that the signer published; if neither is known, it is the root of
 * the branch's first-parent history. Null while there is no request branch. Throws `control-other-repository` if the
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
    `${repository.branches.requests} descends from none of the roots that ${config.control.roots ? `control.roots in ${config.file} names` : 'the signer pinned'}: ${pinned.join(', ')}`,
    {
      hint: 'does the Git host serve another repository? Compare with a clone that you trust; nothing was committed',
    },
  );
}

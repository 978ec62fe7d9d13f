import { isInvalid } from '../../lib/errors.ts';
import type { CommitSigners } from '../../lib/git/commit-signature.ts';
import { printableLines } from '../../lib/printable.ts';
import { shortId, type Commit } from '../../lib/git/objects.ts';
import type { ControlRepository } from './repository.ts';
import { isVouchMessage } from './control-trailers.ts';
import { signatureAt, signatureWhenSeen, type SeenOptions } from './signed-when-seen.ts';

/** The file that stops signing while it is on the request branch. */
export const HOLD = 'HOLD';

/** The longest reason, in bytes. */
export const REASON_LIMIT = 4096;

/** A commit that removes HOLD and does not lift it. */
interface IgnoredRemoval {
  commit: string;
  /** The end of a sentence whose subject is the commit. */
  why: string;
}

/** Whether signing is held, by whom, and why. */
export interface Hold {
  held: boolean;
  /** The commit that added the file. */
  commit: string | null;
  /** Principal who signed that commit; null if no allowed signer did. */
  by: string | null;
  since: Date | null;
  /** The file's text, fit to show. */
  reason: string;
  /** Removals that do not count, newest first. */
  ignored: IgnoredRemoval[];
  /** Whether the file is still at the tip: if not, it has to be added again before a valid commit can remove it. */
  atTip: boolean;
}

/**
 * Why the newest removal does not count, and how to lift a HOLD, to be appended to a sentence about the HOLD. Empty if
 * the file is still there and no commit tried to remove it.
 */
export function howToLift({ ignored, atTip }: Pick<Hold, 'ignored' | 'atTip'>): string {
  const [removal] = ignored;
  if (removal === undefined && atTip) return '';
  const why = removal === undefined ? '' : `; ${shortId(removal.commit)} does not lift it: it ${removal.why}`;
  const first = atTip ? '' : 'put HOLD back in a commit, then ';
  return `${why}; to lift it, ${first}remove HOLD in a commit that changes nothing else, signed by an allowed signer: git rm HOLD && git commit -S`;
}

/** A removal stays valid after its key has expired: otherwise each HOLD of the past would return when that key is replaced. */
interface HoldOptions extends SeenOptions {
  allowed: CommitSigners;
  /** Unsigned removals count too: for a private Git host where unsigned requests are accepted. */
  acceptUnsigned?: boolean;
}

const FREE: Hold = {
  held: false,
  commit: null,
  by: null,
  since: null,
  reason: '',
  ignored: [],
  atTip: false,
};

type HoldChange =
  | { readonly kind: 'put'; readonly id: string; readonly by: string | null }
  | { readonly kind: 'lift'; readonly id: string }
  | { readonly kind: 'ignored'; readonly id: string; readonly why: string };

/** The principal, or null if no allowed signer signed the commit. */
function signerOf(raw: Buffer, { allowed, now = new Date() }: HoldOptions): string | null {
  const signature = signatureAt(raw, allowed, now);
  return 'code' in signature ? null : signature.principal;
}

/** Whether an allowed signer signed a removal, with a key that is valid now or was when the removal was first seen. */
const isSigned = async (commit: Commit, options: HoldOptions): Promise<boolean> =>
  !('code' in (await signatureWhenSeen(commit, options.allowed, options)));

/** A tree's entries without HOLD, in comparable form; an unreadable tree differs from all others. */
async function othersIn(repository: ControlRepository, { id, tree }: Commit): Promise<string> {
  try {
    const entries = (await repository.readTree(tree)).filter(({ name }) => name !== HOLD);
    return entries.map((entry) => `${entry.mode} ${entry.id} ${entry.name}`).join('\0');
  } catch (error) {
    if (isInvalid(error)) return `unreadable ${id}`;
    throw error;
  }
}

interface HoldContext {
  readonly repository: ControlRepository;
  readonly options: HoldOptions;
}

/** Why a commit that removes HOLD does not lift it, or null if it does. */
async function flawOf({ repository, options }: HoldContext, commit: Commit): Promise<string | null> {
  const [parent, ...more] = commit.parents;
  if (parent === undefined || more.length > 0) return 'is a merge, and merges neither lift nor restore';
  if (isVouchMessage(commit.message)) return 'is a vouch';
  if (options.acceptUnsigned !== true && !(await isSigned(commit, options)))
    return 'is not signed by an allowed signer';
  const before = await readOrNull(repository, parent);
  if (before === null)
    return 'follows a commit that cannot be read (change HOLD in a commit of its own, and remove it in the next)';
  if ((await othersIn(repository, before)) !== (await othersIn(repository, commit)))
    return 'changes other files too';
  return null;
}

/** A commit; null if it is malformed, as git itself may find it in order: with a time of a million years, for example. */
async function readOrNull(repository: ControlRepository, id: string): Promise<Commit | null> {
  try {
    return await repository.readCommit(id);
  } catch (error) {
    if (isInvalid(error)) return null;
    throw error;
  }
}

const hasHold = async (repository: ControlRepository, commit: Commit): Promise<boolean> =>
  (await repository.entryAt(commit, HOLD)) !== null;

/** Whether a merge has what one of its parents has, and so decides nothing: the commits that it joins do. */
async function joinsOnly(
  repository: ControlRepository,
  { parents }: Commit,
  present: boolean,
): Promise<boolean> {
  if (parents.length < 2) return false;
  for (const parent of parents) {
    const commit = await readOrNull(repository, parent);
    if (commit && (await hasHold(repository, commit)) === present) return true;
  }
  return false;
}

async function changeIn(context: HoldContext, id: string): Promise<HoldChange | null> {
  const { repository, options } = context;
  const commit = await readOrNull(repository, id);
  if (commit === null) return { kind: 'put', id, by: null };
  const present = await hasHold(repository, commit);
  if (await joinsOnly(repository, commit, present)) return null;
  if (present) return { kind: 'put', id, by: signerOf(commit.raw, options) };
  const why = await flawOf(context, commit);
  return why === null ? { kind: 'lift', id } : { kind: 'ignored', id, why };
}

async function changesOf(context: HoldContext, tip: string): Promise<HoldChange[]> {
  const changes: HoldChange[] = [];
  for (const id of await context.repository.commitsTouching(tip, HOLD)) {
    const change = await changeIn(context, id);
    if (change) changes.push(change);
  }
  return changes;
}

async function reasonAt(repository: ControlRepository, commit: Commit): Promise<string> {
  try {
    const bytes = await repository.readFileAt(commit, HOLD, REASON_LIMIT);
    return printableLines(bytes?.toString('utf8').trim() ?? '', REASON_LIMIT);
  } catch (error) {
    if (isInvalid(error)) return error.message;
    throw error;
  }
}

/**
 * Whether a `HOLD` file stops signing, judged by history rather than by the tip:
 *
 * - any commit that adds or changes a HOLD stops signing, signed or not. Anyone who can write the branch can delay
 *   signing in any case, and an urgent stop must not fail for lack of a signature. A commit that changes it and cannot
 *   be read stops signing too, rather than refusing all later requests for good;
 * - a HOLD is lifted by a commit that descends from it, removes the file and changes nothing else, has exactly one
 *   parent, is signed by an allowed signer, and has no line `Vouch:` in its message. Other removals are reported in
 *   `ignored`;
 * - merges neither lift nor restore it, whatever their trees have: the commits that they join decide. (Only a merge
 *   with a HOLD that none of its parents has adds one; no `git merge` makes such a merge by itself.)
 *
 * To lift a HOLD whose removal did not count, add the file again if the tip no longer has it, then remove it in a
 * signed commit of its own.
 */
export async function readHold(
  repository: ControlRepository,
  tip: string,
  options: HoldOptions,
): Promise<Hold> {
  const changes = await changesOf({ repository, options }, tip);
  if (changes.length === 0) return FREE;
  const ignored = changes.flatMap((change) =>
    change.kind === 'ignored' ? [{ commit: change.id, why: change.why }] : [],
  );
  const lifts = changes.filter(({ kind }) => kind === 'lift').map(({ id }) => id);
  const standing = new Set(await repository.commitsTouching(tip, HOLD, lifts));
  const hold = changes.find((change) => change.kind === 'put' && standing.has(change.id));
  if (hold?.kind !== 'put') return { ...FREE, ignored };
  const commit = await readOrNull(repository, hold.id);
  const last = await readOrNull(repository, tip);
  return {
    held: true,
    commit: hold.id,
    by: hold.by,
    since: commit?.committer.at ?? null,
    reason: commit ? await reasonAt(repository, commit) : 'the commit that put it there cannot be read',
    ignored,
    atTip: last !== null && (await hasHold(repository, last)),
  };
}

import { SignpipeError } from '../errors.ts';
import { verifyCommitSignature, type SignerList } from './commit-signature.ts';
import { printableLines } from '../printable.ts';
import type { ControlRepository } from './repository.ts';

/** The file that stops signing while it lies in the request branch. */
export const HOLD = 'HOLD';

const REASON_LIMIT = 4096;

/** Whether signing is held, by whom, and why. */
export interface Hold {
  held: boolean;
  /** Commit that put the file there. */
  commit: string | null;
  /** Principal who signed that commit; null when nobody whom we know did. */
  by: string | null;
  since: Date | null;
  /** The file's text, fit to show. */
  reason: string;
  /** Commits that took the file away without leave: unsigned, or signed by somebody not allowed. */
  ignored: string[];
}

export interface HoldOptions {
  allowed: SignerList;
  /** On a private Git host that takes unsigned requests, unsigned removals count too. */
  acceptUnsigned?: boolean;
  /** When keys have to be valid, besides the time the commit states; now unless given. */
  now?: Date;
}

const FREE: Hold = { held: false, commit: null, by: null, since: null, reason: '', ignored: [] };

interface Change {
  id: string;
  present: boolean;
  by: string | null;
}

/** The principal, or null where the commit is unsigned, wrongly signed, or signed by somebody unknown. */
function signerOf(raw: Buffer, { allowed, now }: HoldOptions): string | null {
  try {
    return verifyCommitSignature(raw, allowed, { now: now ?? new Date() }).principal;
  } catch (error) {
    if (error instanceof SignpipeError && (error.kind === 'invalid' || error.kind === 'not-allowed'))
      return null;
    throw error;
  }
}

async function changesOf(
  repository: ControlRepository,
  tip: string,
  options: HoldOptions,
): Promise<Change[]> {
  const changes: Change[] = [];
  for (const id of await repository.commitsTouching(tip, HOLD)) {
    const commit = await repository.readCommit(id);
    const present = (await repository.entryAt(commit, HOLD)) !== null;
    changes.push({ id, present, by: signerOf(commit.raw, options) });
  }
  return changes;
}

async function reasonAt(repository: ControlRepository, id: string): Promise<string> {
  try {
    const bytes = await repository.readFileAt(await repository.readCommit(id), HOLD, REASON_LIMIT);
    return printableLines(bytes?.toString('utf8').trim() ?? '', REASON_LIMIT);
  } catch (error) {
    if (error instanceof SignpipeError && error.kind === 'invalid') return error.message;
    throw error;
  }
}

/**
 * Whether a `HOLD` file stops signing, judged by history rather than by the tip:
 *
 * - putting a HOLD there stops signing whoever did it, signed or not. Whoever can write the branch can delay
 *   signing anyhow, and somebody in a hurry must not find that the stop did not hold for want of a signature;
 * - only a commit signed by an allowed signer lifts what came before it. A removal that is not is passed over
 *   and reported in `ignored`, and so is a merge or a rewritten tree that lets the file vanish: for commits
 *   count that changed HOLD against every parent.
 *
 * A HOLD that was lifted by nobody allowed is lifted by a signed commit that removes the file (where the
 * tip no longer has it, by one that adds it and one that removes it).
 */
export async function readHold(
  repository: ControlRepository,
  tip: string,
  options: HoldOptions,
): Promise<Hold> {
  const changes = await changesOf(repository, tip, options);
  if (changes.length === 0) return FREE;
  const lifts = changes.filter(
    ({ present, by }) => !present && (by !== null || options.acceptUnsigned === true),
  );
  const ignored = changes.filter((change) => !change.present && !lifts.includes(change)).map(({ id }) => id);
  const lifted = lifts.map(({ id }) => id);
  const standing = new Set(await repository.commitsTouching(tip, HOLD, lifted));
  const hold = changes.find(({ id, present }) => present && standing.has(id));
  if (!hold) return { ...FREE, ignored };
  const { committer } = await repository.readCommit(hold.id);
  return {
    held: true,
    commit: hold.id,
    by: hold.by,
    since: committer.at,
    reason: await reasonAt(repository, hold.id),
    ignored,
  };
}

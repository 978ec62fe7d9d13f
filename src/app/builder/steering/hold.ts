import { usage } from '../../../lib/errors.ts';
import { ANYONE } from '../../../lib/git/commit-signature.ts';
import { HOLD, readHold, REASON_LIMIT, type Hold } from '../../../protocol/control/hold.ts';
import type { ControlRepository } from '../../../protocol/control/repository.ts';
import { commitFile, type FileCommit } from '../../../protocol/control/write-commit.ts';
import { committerOf } from '../../config/open.ts';
import { appendCommit } from '../append-commit.ts';
import { requestRace } from '../push-request.ts';
import type { ControlSession } from '../session.ts';

/** A HOLD that stops signing. */
interface HoldSet {
  /** The commit that added it. */
  readonly commit: string;
  /** Whether signing was stopped before. */
  readonly already: boolean;
}

/**
 * A HOLD that stands for every signer, whichever keys it allows and whether or not it accepts unsigned removals; null if
 * some signer may see none. Only then another HOLD would add nothing.
 */
async function standingForAll(repository: ControlRepository, tip: string | null): Promise<Hold | null> {
  if (tip === null) return null;
  const hold = await readHold(repository, tip, { allowed: ANYONE, acceptUnsigned: true });
  return hold.held ? hold : null;
}

const fileAt = async (repository: ControlRepository, commit: string | null): Promise<Buffer | null> =>
  commit === null ? null : repository.readFileAt(await repository.readCommit(commit), HOLD, REASON_LIMIT * 2);

/** The text of HOLD, which has to differ from that of the parent: only a change of the file stops signing. */
async function textFor(
  repository: ControlRepository,
  parent: string | null,
  reason: string,
  at: Date,
): Promise<Buffer> {
  const text = Buffer.from(`${reason}\n`);
  const before = await fileAt(repository, parent).catch(() => null);
  return before?.equals(text) ? Buffer.concat([text, Buffer.from(`${at.toISOString()}\n`)]) : text;
}

/** Stops all signing by a signed commit that adds HOLD. Does nothing if a HOLD stands already. */
export async function hold(session: ControlSession, reason: string): Promise<HoldSet> {
  if (Buffer.byteLength(reason) > REASON_LIMIT)
    throw usage('hold-reason', `the reason is longer than ${REASON_LIMIT} bytes`);
  const { repository } = session;
  const { signer, identity } = await committerOf(session);
  const { requests } = await repository.fetch();
  const standing = await standingForAll(repository, requests);
  if (standing?.commit) return { commit: standing.commit, already: true };
  const commit = await appendCommit(
    session,
    repository.branches.requests,
    (heads) => heads.requests,
    async (parent) => {
      const at = new Date();
      const content = await textFor(repository, parent, reason, at);
      const message = `Hold: ${reason.split('\n', 1)[0]?.slice(0, 100) ?? ''}\n`;
      return commitFile(repository, { parent, name: HOLD, content, message, identity, at, signer });
    },
  );
  if (commit === null) throw requestRace();
  return { commit, already: false };
}

/** What became of a HOLD. */
interface Unheld {
  /** The commit that removes HOLD; null if signing was not held. */
  readonly commit: string | null;
  /** HOLD was gone without having been lifted, so it was put back first. */
  readonly putBack: boolean;
}

/** Removes HOLD in a commit of its own, after one that puts it back if the file is gone. */
async function removeHold(
  repository: ControlRepository,
  { parent, ...common }: Omit<FileCommit, 'name' | 'content' | 'message'>,
): Promise<{ id: string; putBack: boolean }> {
  const tip = parent === null ? null : await repository.readCommit(parent);
  const putBack = tip === null || (await repository.entryAt(tip, HOLD)) === null;
  const file = { ...common, name: HOLD };
  const content = Buffer.from('put back, to be removed in a commit of its own\n');
  const before = putBack
    ? await commitFile(repository, {
        ...file,
        parent,
        content,
        message: 'Put HOLD back, to remove it properly\n',
      })
    : parent;
  const id = await commitFile(repository, { ...file, parent: before, content: null, message: 'Lift HOLD\n' });
  return { id, putBack };
}

/**
 * Lifts a HOLD by a signed commit that removes the file and changes nothing else. Only the signer knows which keys may do
 * that: `again` also lifts a HOLD that seems to be lifted here, by a commit that the signer does not count.
 */
export async function unhold(session: ControlSession, { again = false } = {}): Promise<Unheld> {
  const { repository } = session;
  const { signer, identity } = await committerOf(session);
  const { requests } = await repository.fetch();
  const isHeld = requests !== null && (await readHold(repository, requests, { allowed: ANYONE })).held;
  if (requests === null || (!isHeld && !again)) return { commit: null, putBack: false };
  let putBack = false;
  const commit = await appendCommit(
    session,
    repository.branches.requests,
    (heads) => heads.requests,
    async (parent) => {
      const removal = await removeHold(repository, { parent, identity, at: new Date(), signer });
      putBack = removal.putBack;
      return removal.id;
    },
  );
  if (commit === null) throw requestRace();
  return { commit, putBack };
}

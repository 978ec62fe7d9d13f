import { isInvalid } from '../../../lib/errors.ts';
import type { CommitSigners } from '../../../lib/git/commit-signature.ts';
import { parseTrailers, trailerValues } from '../../../lib/git/trailers.ts';
import { requestCancelledBy } from '../../../protocol/control/cancel.ts';
import { HOLD } from '../../../protocol/control/hold.ts';
import type { ControlRepository } from '../../../protocol/control/repository.ts';
import { RETRY_TRAILER } from '../../../protocol/control/request.ts';
import { signatureOf } from '../vouch-counter.ts';
import type { StoryEvent } from './request-story.ts';

/** After this many later commits, what cancels or retries a request is not looked for any more. */
const MOST_LATER = 20_000;
/** Commits that are read at the same time. */
const BATCH = 200;

export interface LaterCommits {
  readonly events: readonly StoryEvent[];
  readonly retries: readonly string[];
}

const isRetryOf = (message: string, id: string): boolean =>
  /retry-of/i.test(message) && trailerValues(parseTrailers(message), RETRY_TRAILER).includes(id);

/** Commits after a request that say that they cancel or retry it. Whether a cancellation counts, only the signer decides. */
export async function laterCommits(
  repository: ControlRepository,
  tip: string,
  request: string,
  signers: CommitSigners,
): Promise<LaterCommits> {
  const events: StoryEvent[] = [];
  const retries: string[] = [];
  const ids = (await repository.commitsBetween(tip, [request])).slice(0, MOST_LATER);
  for (let at = 0; at < ids.length; at += BATCH) {
    const commits = await Promise.all(ids.slice(at, at + BATCH).map((id) => readOrNull(repository, id)));
    for (const commit of commits) {
      if (commit === null) continue;
      const { id, message, committer, raw } = commit;
      const base = { at: committer.at, commit: id };
      const by = signatureOf(raw, signers);
      const who = by?.principal ?? `an author who claims to be ${committer.name}`;
      if (requestCancelledBy(message) === request)
        events.push({ ...base, what: 'cancel', proven: by !== null, text: `cancelled by ${who}` });
      if (!isRetryOf(message, request)) continue;
      retries.push(id);
      events.push({ ...base, what: 'retry', proven: by !== null, text: `requested again by ${who}` });
    }
  }
  return { events, retries };
}

async function readOrNull(repository: ControlRepository, id: string) {
  try {
    return await repository.readCommit(id);
  } catch (error) {
    if (isInvalid(error)) return null;
    throw error;
  }
}

/** The commits between two times that added or removed HOLD. Whether a removal counts, `readHold` decides. */
export async function holdsBetween(
  repository: ControlRepository,
  tip: string,
  [from, to]: readonly [Date, Date],
  signers: CommitSigners,
): Promise<StoryEvent[]> {
  const events: StoryEvent[] = [];
  for (const id of await repository.commitsTouching(tip, HOLD)) {
    const commit = await readOrNull(repository, id);
    const at = commit?.committer.at;
    if (!commit || !at || commit.parents.length > 1 || at < from || at > to) continue;
    const held = (await repository.entryAt(commit, HOLD)) !== null;
    const by = signatureOf(commit.raw, signers);
    const who = by?.principal ?? `an author who claims to be ${commit.committer.name}`;
    const text = `HOLD ${held ? 'put' : 'removed'} by ${who}`;
    events.push({ at, what: held ? 'hold' : 'lifted', commit: id, proven: by !== null, text });
  }
  return events;
}

import { isRefused, SignpipeError } from '../../lib/errors.ts';
import type { CommitSigners } from '../../lib/git/commit-signature.ts';
import { HEALTH_REFS, isHealthName, parseHeartbeat, type SignerHeartbeat } from './heartbeat.ts';
import type { ControlRepository } from './repository.ts';

/** The most heartbeats that are fetched and read: no control repository has as many signers. */
const MOST_HEARTBEATS = 64;
/** The most bytes that one fetch of heartbeats may receive. */
const FETCH_LIMIT = 16 * 1024 * 1024;

/** A ref that is no heartbeat, or why the newest ones are missing, with the code and the message of the error. */
export interface HeartbeatProblem {
  /** The ref's name below `HEALTH_REFS`; null if they could not be fetched. */
  readonly name: string | null;
  readonly code: string;
  readonly message: string;
}

export interface Heartbeats {
  /** By name of the ref. */
  readonly signers: readonly SignerHeartbeat[];
  readonly problems: readonly HeartbeatProblem[];
}

/** Why the last fetch of heartbeats into a clone failed. */
const failures = new WeakMap<ControlRepository, HeartbeatProblem>();

/**
 * Fetches the heartbeats on the host into the same refs of the clone. Nothing is pruned: a heartbeat that the host
 * withholds is seen to be old. They decide nothing, so a failure keeps no reader from the branches: `readHeartbeats`
 * then lists it as a problem. A host that is down is reported by the fetch of the branches.
 */
export async function fetchHeartbeats(repository: ControlRepository): Promise<void> {
  try {
    await repository.fetchRefs(HEALTH_REFS, {
      choose: (names) => names.filter(isHealthName).toSorted().slice(0, MOST_HEARTBEATS),
      limit: FETCH_LIMIT,
    });
    failures.delete(repository);
  } catch (error) {
    if (!(error instanceof SignpipeError)) throw error;
    failures.set(repository, { name: null, code: error.code, message: error.message });
  }
}

/**
 * The heartbeats in a repository on this machine, at most 64, each signed by a key that is trusted for receipts. Refs that
 * are no heartbeats are listed as problems, and so is a failure of `fetchHeartbeats`, which gets the newest ones before.
 */
export async function readHeartbeats(
  repository: ControlRepository,
  allowed: CommitSigners,
  now: Date,
): Promise<Heartbeats> {
  const signers: SignerHeartbeat[] = [];
  const failure = failures.get(repository);
  const problems: HeartbeatProblem[] = failure ? [failure] : [];
  const refs = await repository.refsBelow(HEALTH_REFS, MOST_HEARTBEATS);
  for (const [name, id] of refs)
    try {
      const { raw } = await repository.readCommit(id);
      signers.push(parseHeartbeat(raw, { name, allowed, now }));
    } catch (error) {
      if (!isRefused(error)) throw error;
      problems.push({ name, code: error.code, message: error.message });
    }
  return { signers, problems };
}

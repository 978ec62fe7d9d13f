import { Git, GitFailure } from '../../../lib/git/git.ts';
import { objectId, serializeCommit, serializeTree } from '../../../lib/git/objects.ts';
import { HEALTH_REFS } from '../../../protocol/control/heartbeat.ts';
import type { ControlRepository } from '../../../protocol/control/repository.ts';

/**
 * A ref that the shipped hook always refuses, naming what the key may write. A host without that hook creates it; then
 * it is removed again.
 */
export const PROBE = 'refs/signpipe/probe';

/** A ref beside the heartbeats, whose name no heartbeat has. */
export const HEARTBEAT_PROBE = `${HEALTH_REFS}probe`;

/** Creates an empty commit. */
export async function writeProbe(repository: ControlRepository): Promise<string> {
  const tree = serializeTree([]);
  const commit = serializeCommit({
    tree: objectId('tree', tree),
    parents: [],
    identity: { name: 'signpipe doctor', email: '' },
    at: new Date(),
    message: 'Probe\n',
  });
  await repository.writeObjects([
    { type: 'tree', content: tree },
    { type: 'commit', content: commit },
  ]);
  return objectId('commit', commit);
}

/** What the host said to a push of the probe to a ref; null if it accepted it, which is then removed again. */
export async function pushProbe(git: Git, url: string, commit: string, ref: string): Promise<string | null> {
  try {
    await git.run(['push', '--porcelain', '--no-verify', url, `${commit}:${ref}`]);
  } catch (error) {
    if (error instanceof GitFailure) return error.stderr.slice(0, 65_536);
    throw error;
  }
  await git.run(['push', '--porcelain', '--no-verify', url, `:${ref}`]);
  return null;
}

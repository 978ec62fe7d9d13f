import { join } from 'node:path';
import { withTempFolder } from '../../../lib/bytes/temp-folder.ts';
import { openControl, type SiteConfig } from '../../config/open.ts';

import { remoteError } from '../../../protocol/control/git-host-errors.ts';
import { Git, GitFailure } from '../../../lib/git/git.ts';
import { objectId, serializeCommit, serializeTree } from '../../../lib/git/objects.ts';
import { plural } from '../../../lib/plural.ts';
import type { ControlRepository } from '../../../protocol/control/repository.ts';
import { gitSshCommand } from '../../../lib/ssh/git-ssh-command.ts';
import type { SshOptions } from '../../../lib/ssh/options.ts';
import { ok, warning, type CheckResult } from './check-result.ts';

/** Lists the branches. */
async function checkBranches(repository: ControlRepository): Promise<CheckResult> {
  const { requests, receipts, vouches } = repository.selectHeads(await repository.listRemote());
  const branches = repository.branches;
  const names = [
    requests === null ? `${branches.requests} (does not exist yet)` : branches.requests,
    receipts === null
      ? `${branches.receipts} (does not exist yet; the signer's first run creates it)`
      : branches.receipts,
    ...(vouches.size > 0 ? [plural(vouches.size, 'branch', 'branches') + ' of vouches'] : []),
  ].join(', ');
  if (requests !== null || receipts === null) return ok(`can be read; branches: ${names}`);
  return warning(
    'no-requests-branch',
    `there are receipts, but no branch ${branches.requests}`,
    'check that control.requests is the branch that builders write',
  );
}

/** Creates an empty commit, which never leaves this machine. */
async function writeProbe(repository: ControlRepository): Promise<string> {
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

/** Whether Git found, before it sent anything, that the probe does not continue the branch. */
const isLocalRejection = (error: unknown): boolean =>
  error instanceof GitFailure && /^!\t[^\t]*\t\[rejected\]/m.test(error.stdout);

/**
 * Begins a push to a branch and stops before anything is sent: it shows whether the host lets this key run
 * git-receive-pack, but not what a hook or branch rules say.
 */
async function checkPush(
  repository: ControlRepository,
  branch: string,
  sshCommand: string | undefined,
): Promise<CheckResult> {
  const git = new Git(repository.path, {
    ...(sshCommand === undefined ? {} : { sshCommand }),
    silenceMs: 20_000,
    totalMs: 25_000,
  });
  const refspec = `${await writeProbe(repository)}:refs/heads/${branch}`;
  try {
    await git.run(['push', '--dry-run', '--porcelain', '--no-verify', repository.url, refspec]);
  } catch (error) {
    if (!isLocalRejection(error)) throw remoteError(error, repository.url);
  }
  return ok(
    `a push to ${branch} can begin; nothing was sent, so whether the host's hook accepts it shows only at the first real push`,
  );
}

/**
 * Reads the control repository through a temporary clone, and begins a push to `branch`, which this site writes.
 * Changes neither the repository nor the state folder.
 */
export async function checkControl(
  config: Pick<SiteConfig, 'control'>,
  branch: string,
  ssh: SshOptions | undefined,
): Promise<CheckResult[]> {
  return withTempFolder(async (folder) => {
    const repository = await openControl(config, ssh, join(folder, 'control.git'));
    try {
      const sshCommand = ssh && config.control.url.startsWith('ssh:') ? gitSshCommand(ssh) : undefined;
      return [await checkBranches(repository), await checkPush(repository, branch, sshCommand)];
    } finally {
      repository.close();
    }
  });
}

import { join } from 'node:path';
import { withTempFolder } from '../../../lib/bytes/temp-folder.ts';
import { openControl, type SiteConfig } from '../../config/open.ts';
import { Git } from '../../../lib/git/git.ts';
import { plural } from '../../../lib/plural.ts';
import type { ControlRepository } from '../../../protocol/control/repository.ts';
import { gitSshCommand } from '../../../lib/ssh/git-ssh-command.ts';
import type { SshOptions } from '../../../lib/ssh/options.ts';
import { checkPush, type PushRights } from './check-push.ts';
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

/**
 * Reads the control repository through a temporary clone, and asks the host what this site's key may write. Changes
 * neither the branches nor the state folder.
 */
export async function checkControl(
  config: Pick<SiteConfig, 'control'>,
  rights: PushRights,
  ssh: SshOptions | undefined,
): Promise<CheckResult[]> {
  return withTempFolder(async (folder) => {
    const repository = await openControl(config, ssh, join(folder, 'control.git'));
    try {
      const branches = await checkBranches(repository);
      const sshCommand = ssh && config.control.url.startsWith('ssh:') ? gitSshCommand(ssh) : undefined;
      const git = new Git(repository.path, {
        ...(sshCommand === undefined ? {} : { sshCommand }),
        silenceMs: 20_000,
        totalMs: 25_000,
      });
      return [branches, ...(await checkPush(repository, git, rights))];
    } finally {
      repository.close();
    }
  });
}

import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Git, GitFailure } from '../../../../lib/git/git.ts';
import { hasCode } from '../../../../lib/errors.ts';
import { HOOK_NAMES, REPOSITORY_SETTINGS } from '../../init/init-control.ts';
import { readShippedFile, shippedFilePath } from '../../init/shipped-files.ts';
import { bad, ok, warning, type CheckResult } from '../check-result.ts';

const INSTALL = `cp ${shippedFilePath('pipeline/hooks/update')} HOOK && chmod 755 HOOK`;

/** Both hooks are there, can be run, and are those of this version. */
async function checkHook(repository: string, name: string, shipped: string): Promise<CheckResult> {
  const path = join(repository, 'hooks', name);
  const how = INSTALL.replaceAll('HOOK', path);
  try {
    const [text, { mode }] = await Promise.all([readFile(path, 'utf8'), stat(path)]);
    if ((mode & 0o111) === 0) return bad('hook-missing', `${path} is not executable: git ignores it`, how);
    if (text !== shipped)
      return warning('hook-old', `${path} is not the hook of this version of signpipe`, how);
    return ok(`${path} is the hook of this version`);
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error;
    return bad('hook-missing', `${path} does not exist: every key may write every branch`, how);
  }
}

/** The value of a setting of Git for the repository; null if it has none. */
async function setting(git: Git, name: string): Promise<string | null> {
  try {
    return (await git.run(['config', '--local', '--get', name])).trim();
  } catch (error) {
    if (error instanceof GitFailure && error.status === 1) return null;
    throw error;
  }
}

async function checkSettings(git: Git, path: string): Promise<CheckResult[]> {
  const results: CheckResult[] = [];
  for (const [name, wanted] of Object.entries(REPOSITORY_SETTINGS)) {
    const found = await setting(git, name);
    if (found === null || (wanted === 'true' && found !== 'true'))
      results.push(
        warning(
          'host-setting',
          `${path}: ${name} is ${found ?? 'not set'}`,
          `git -C ${path} config ${name} ${wanted}`,
        ),
      );
  }
  const elsewhere = await setting(git, 'core.hooksPath');
  if (elsewhere !== null)
    results.push(
      bad(
        'hook-elsewhere',
        `${path}: core.hooksPath is ${elsewhere}, so git runs no hook in ${path}/hooks`,
        `git -C ${path} config --unset core.hooksPath`,
      ),
    );
  if ((await setting(git, 'signpipe.local')) === 'true')
    results.push(
      warning(
        'host-local-pushes',
        `${path}: signpipe.local lets every account that can write the files push everything`,
        `unless all roles are on this machine, for trials: git -C ${path} config --unset signpipe.local`,
      ),
    );
  return results.length > 0 ? results : [ok(`${path} has the settings that init control makes`)];
}

/** An account that can write the files of the repository needs no push. */
async function checkMode(path: string): Promise<CheckResult[]> {
  const open: string[] = [];
  for (const name of ['.', 'hooks', 'refs', 'objects', 'config']) {
    const found = await stat(join(path, name)).catch(() => null);
    if (found && (found.mode & 0o022) !== 0) open.push(join(path, name));
  }
  if (open.length === 0) return [];
  return [
    bad(
      'repository-open',
      `other accounts can write ${open.join(', ')}: they need no role to change history`,
      `chmod -R go-w ${path}`,
    ),
  ];
}

/** Checks a control repository on the machine that serves it. Throws `git-no-repository` (usage) and the like. */
export async function checkHostRepository(path: string): Promise<CheckResult[]> {
  const git = new Git(path);
  const shipped = await readShippedFile('pipeline/hooks/update');
  const hooks = await Promise.all(HOOK_NAMES.map((name) => checkHook(path, name, shipped)));
  return [...hooks, ...(await checkSettings(git, path)), ...(await checkMode(path))];
}

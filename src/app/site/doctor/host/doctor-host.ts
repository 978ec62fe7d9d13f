import { lstat, realpath, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { inheritedEnvironment } from '../../../../lib/child-environment.ts';
import { hasCode, usage } from '../../../../lib/errors.ts';
import { checkPrograms } from '../check-programs.ts';
import { bad, ok, runChecks, warning, type CheckResult, type SiteFinding } from '../check-result.ts';
import { checkGitKeys } from './check-git-keys.ts';
import { checkHostRepository } from './check-repository.ts';
import { checkSshd, readSshdSettings, type SshdSettings } from './check-sshd.ts';

const run = promisify(execFile);

/** What `doctor --host` is asked to look at. */
export interface HostPlaces {
  /** The folder that `init control` filled, or the bare repository itself. */
  readonly folder: string;
  /** The exchange; `exchange` beside the repository unless given. */
  readonly exchange?: string | undefined;
  /** The keys of the account that owns the repository; where sshd looks for them unless given. */
  readonly authorizedKeys?: string | undefined;
  /** sshd's configuration; its own default unless given. */
  readonly sshdConfig?: string | undefined;
}

const exists = (path: string): Promise<boolean> =>
  lstat(path).then(
    () => true,
    () => false,
  );

async function repositoryIn(folder: string): Promise<string> {
  for (const path of [join(folder, 'control.git'), folder])
    if ((await exists(join(path, 'HEAD'))) && (await exists(join(path, 'objects')))) return realpath(path);
  throw usage('host-no-repository', `${folder}: there is no control repository`, {
    hint: 'give the folder that "signpipe init control" filled, or the bare repository itself',
  });
}

/** The name of the account that owns a folder; the only one whose keys may push to it. */
async function ownerOf(path: string): Promise<{ name: string; home: string }> {
  const { uid } = await stat(path);
  const { stdout } = await run('getent', ['passwd', String(uid)], {
    timeout: 10_000,
    env: inheritedEnvironment(),
  });
  const [name = '', , , , , home = ''] = stdout.trim().split(':');
  return { name, home };
}

/** The files in which sshd looks for keys of an account (sshd_config(5), TOKENS). */
function keyFiles(settings: SshdSettings, { name, home }: { name: string; home: string }): string[] {
  return (settings.get('authorizedkeysfile') ?? [])
    .flatMap((value) => value.split(' '))
    .filter((file) => file !== '' && file !== 'none')
    .map((file) => resolve(home, file.replaceAll('%u', name).replaceAll('%h', home).replaceAll('%%', '%')));
}

async function checkKeyFiles(files: readonly string[], account: string): Promise<CheckResult[]> {
  const results: CheckResult[] = [];
  for (const file of files)
    try {
      results.push(...(await checkGitKeys(file)));
    } catch (error) {
      if (!hasCode(error, 'ENOENT')) throw error;
    }
  if (results.length > 0) return results;
  return [
    bad(
      'git-no-keys',
      `${account} has no authorized_keys: none of ${files.join(', ')} exists`,
      'make it as pipeline/host/README.md says',
    ),
  ];
}

/** The folders of the exchange are there, and only the accounts of builders and signer write them. */
async function checkFolders(exchange: string): Promise<CheckResult[]> {
  const results: CheckResult[] = [];
  for (const name of ['incoming', 'signed']) {
    const path = join(exchange, name);
    const found = await stat(path).catch(() => null);
    if (!found?.isDirectory())
      results.push(
        warning(
          'folder-not-there-yet',
          `${path} is not a folder`,
          'create it as pipeline/host/README.md says, unless the exchange has other folder names',
        ),
      );
    else if ((found.mode & 0o002) !== 0)
      results.push(
        warning('exchange-open', `every account of this machine can write ${path}`, `chmod o-w ${path}`),
      );
    else results.push(ok(`${path} belongs to accounts of its own`));
  }
  return results;
}

/**
 * Checks the machine that serves a control repository: its hooks and settings, the roles of the keys, sshd, and the
 * exchange. It only reads. To be run as root or as the account that owns the repository; sshd shows its settings only
 * to root. Throws `host-no-repository` (usage).
 */
export async function checkHostMachine(places: HostPlaces): Promise<SiteFinding[]> {
  const folder = resolve(places.folder);
  const repository = await repositoryIn(folder);
  const owner = await ownerOf(repository);
  const exchange = resolve(places.exchange ?? join(repository, '..', 'exchange'));
  const settings = readSshdSettings(owner.name, places.sshdConfig);
  // Reported by the check of sshd.
  settings.catch(() => {});
  return runChecks([
    { name: 'programs', run: () => checkPrograms(false) },
    { name: 'control repository', run: () => checkHostRepository(repository) },
    { name: `sshd for ${owner.name}`, run: async () => checkSshd(owner.name, await settings) },
    {
      name: `keys of ${owner.name}`,
      run: async () =>
        places.authorizedKeys === undefined
          ? checkKeyFiles(keyFiles(await settings, owner), owner.name)
          : checkGitKeys(resolve(places.authorizedKeys)),
    },
    { name: 'exchange', run: () => checkFolders(exchange) },
  ]);
}

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { inheritedEnvironment } from '../../../lib/child-environment.ts';
import { hasCode } from '../../../lib/errors.ts';
import { printable } from '../../../lib/printable.ts';
import { bad, ok, type CheckResult } from './check-result.ts';

const run = promisify(execFile);

/** The first version with core.fsync. GIT_CONFIG_GLOBAL, which keeps out the user's own configuration, came with 2.32. */
const MIN_GIT = { major: 2, minor: 36 };

async function versionOf(program: string, flag: string): Promise<string | null> {
  try {
    const { stdout, stderr } = await run(program, [flag], { timeout: 10_000, env: inheritedEnvironment() });
    return printable((stdout || stderr).trim(), 200);
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return null;
    throw error;
  }
}

async function checkGit(): Promise<CheckResult> {
  const version = await versionOf('git', '--version');
  const wanted = `${MIN_GIT.major}.${MIN_GIT.minor}`;
  const hint = `install Git ${wanted} or later`;
  if (version === null) return bad('git-missing', 'git is not on the PATH', hint);
  const [, major, minor] = /(?<!\d)(\d+)\.(\d+)/.exec(version) ?? [];
  const recent =
    Number(major) > MIN_GIT.major || (Number(major) === MIN_GIT.major && Number(minor) >= MIN_GIT.minor);
  return recent ? ok(version) : bad('git-too-old', `${version}, older than ${wanted}`, hint);
}

async function checkProgram(program: string, flag: string, missing: CheckResult): Promise<CheckResult> {
  const version = await versionOf(program, flag);
  return version === null ? missing : ok(version);
}

const SSH_MISSING = bad(
  'ssh-missing',
  'ssh is not on the PATH; Git needs it to reach control.url',
  'install an OpenSSH client',
);

const FLOCK_MISSING = bad(
  'flock-missing',
  'flock is not on the PATH; the signer needs it to lock its state folder',
  'install util-linux',
);

/** The programs that every role runs: git, and ssh if Git needs it. */
export const checkPrograms = (needsSsh: boolean): Promise<CheckResult[]> =>
  Promise.all(needsSsh ? [checkGit(), checkProgram('ssh', '-V', SSH_MISSING)] : [checkGit()]);

/** The programs that a signer runs: those of every role, and flock. */
export const checkSignerPrograms = async (needsSsh: boolean): Promise<CheckResult[]> => [
  ...(await checkPrograms(needsSsh)),
  await checkProgram('flock', '--version', FLOCK_MISSING),
];

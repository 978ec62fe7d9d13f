import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { inheritedEnvironment } from '../../../../lib/child-environment.ts';
import { hasCode, messageOf, usage } from '../../../../lib/errors.ts';
import { matchesWildcards } from '../../../../lib/sshsig/wildcards.ts';
import { printable } from '../../../../lib/printable.ts';
import { bad, ok, warning, type CheckResult } from '../check-result.ts';

const run = promisify(execFile);

/** What sshd does for one account: its settings, names in lower case, each with all its values. */
export type SshdSettings = ReadonlyMap<string, readonly string[]>;

/** sshd is usually not on the PATH of other accounts than root. */
const PROGRAMS = ['/usr/sbin/sshd', '/usr/local/sbin/sshd', 'sshd'];

async function extendedTest(args: readonly string[]): Promise<string> {
  for (const program of PROGRAMS)
    try {
      return (await run(program, args, { timeout: 10_000, env: inheritedEnvironment() })).stdout;
    } catch (error) {
      if (!hasCode(error, 'ENOENT')) throw error;
    }
  throw usage('sshd-missing', 'sshd is not installed on this machine', {
    hint: 'run doctor --host on the machine that serves the control repository',
  });
}

/** Asks sshd for its settings for an account (`sshd -T`). Throws `sshd-unreadable` (usage) if it refuses its own configuration. */
export async function readSshdSettings(account: string, config?: string): Promise<SshdSettings> {
  const where = `user=${account},host=localhost,addr=127.0.0.1,laddr=127.0.0.1,lport=22`;
  const file = config === undefined ? [] : ['-f', config];
  const text = await extendedTest(['-T', ...file, '-C', where]).catch((error: unknown) => {
    if (hasCode(error, 'sshd-missing')) throw error;
    throw usage('sshd-unreadable', `sshd -T: ${printable(messageOf(error), 300)}`, {
      hint: 'run doctor --host as root, and check the configuration with sshd -t',
      cause: error,
    });
  });
  const settings = new Map<string, string[]>();
  for (const line of text.split('\n')) {
    const [name = '', ...value] = line.split(' ');
    settings.set(name.toLowerCase(), [...(settings.get(name.toLowerCase()) ?? []), value.join(' ')]);
  }
  return settings;
}

/** Whether a pattern of AcceptEnv lets a client set a variable that names roles. */
const letsRolesThrough = (pattern: string): boolean =>
  ['SIGNPIPE_ROLE', 'SIGNPIPE_USER'].some((name) => matchesWildcards(name, pattern));

/** Checks what sshd lets the account of the control repository do. */
export function checkSshd(account: string, settings: SshdSettings): CheckResult[] {
  const accepted = (settings.get('acceptenv') ?? []).flatMap((value) => value.split(' '));
  const through = accepted.filter((pattern) => pattern !== '' && letsRolesThrough(pattern));
  const isOn = (name: string): boolean => (settings.get(name)?.[0] ?? 'no') !== 'no';
  const problems = [
    ...(through.length === 0
      ? []
      : [
          bad(
            'sshd-accepts-roles',
            `AcceptEnv ${printable(through.join(' '), 100)} lets a client of ${account} set SIGNPIPE_ROLE or SIGNPIPE_USER`,
            'AcceptEnv GIT_PROTOCOL is enough',
          ),
        ]),
    ...(isOn('permituserenvironment')
      ? [
          bad(
            'sshd-accepts-roles',
            `PermitUserEnvironment lets ${account} set SIGNPIPE_ROLE in a file`,
            'PermitUserEnvironment no',
          ),
        ]
      : []),
    ...(isOn('passwordauthentication') || isOn('kbdinteractiveauthentication')
      ? passwordFinding(account, settings)
      : []),
  ];
  return problems.length > 0 ? problems : [ok(`takes roles only from authorized_keys of ${account}`)];
}

/** Passwords are fine if the account must show a key anyway. */
const passwordFinding = (account: string, settings: SshdSettings): CheckResult[] =>
  settings.get('authenticationmethods')?.[0]?.startsWith('publickey')
    ? []
    : [
        warning(
          'sshd-passwords',
          `${account} may log in with a password, without a role`,
          'in a Match block for the account: AuthenticationMethods publickey',
        ),
      ];

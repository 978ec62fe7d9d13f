import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { SignpipeError, usage } from '../errors.ts';
import { keyFormatOf, pemText } from '../recognize-key-file.ts';
import { parseIdentity } from './identity.ts';
import { timesOf, type SshOptions } from './options.ts';
import { shellCommand } from './quote.ts';

/**
 * A path as an ssh_config(5) value: quoted, `%` doubled. A path that cannot be written there is refused (`${` is
 * expanded, and quotes cannot be escaped before OpenSSH 8.7).
 */
export function configPath(path: string): string {
  const absolute = resolve(path);
  // eslint-disable-next-line no-control-regex -- control characters are what is looked for
  if (/["\\\x00-\x1f]|\$\{/.test(absolute))
    throw usage(
      'ssh-path-unusable',
      `${absolute}: ssh cannot be given a path with quotes, backslashes or \${`,
      {
        hint: 'move the file to a path without such characters',
      },
    );
  return `"${absolute.replaceAll('%', '%%')}"`;
}

const OPENSSH = { begin: '-----BEGIN OPENSSH PRIVATE KEY-----', end: '-----END OPENSSH PRIVATE KEY-----' };

/**
 * Why OpenSSH cannot read a key that this process can, or null. OpenSSH requires its own format from the first byte
 * on, and line feeds only, one of them after the last line (sshkey.c); it reports just "error in libcrypto".
 */
function unreadableForOpenSsh(bytes: Buffer): { why: string; hint: string } | null {
  const text = bytes.toString('latin1');
  const format = keyFormatOf(bytes);
  if (text.startsWith('PuTTY-')) return { why: `it is ${format?.what}`, hint: format?.sshHint ?? '' };
  if (!pemText(bytes).includes(OPENSSH.begin)) return null;
  if (text.startsWith(`${OPENSSH.begin}\n`) && text.includes(`\n${OPENSSH.end}\n`)) return null;
  if (text.includes('\r\n'))
    return { why: 'its lines end as on Windows (CR LF)', hint: "write it again: sed -i 's/\\r$//' KEY" };
  if (text.trimEnd().endsWith(OPENSSH.end) && text.startsWith(OPENSSH.begin))
    return { why: 'its last line has no line feed', hint: 'add one: echo >> KEY' };
  return {
    why: 'something precedes its first line, such as a byte order mark, or it is UTF-16',
    hint: 'save it as plain ASCII, beginning with -----BEGIN',
  };
}

/**
 * Refuses keys that the system's ssh cannot use: it cannot ask for a passphrase here, so an encrypted key needs an
 * agent, and it reads fewer formats than this process. The connection reports any other problem with the file.
 */
function requireOpenIdentity(path: string): void {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch {
    return;
  }
  requireUnencrypted(bytes, path);
  const problem = unreadableForOpenSsh(bytes);
  if (problem)
    throw usage('identity-invalid', `${path}: OpenSSH, which Git uses, cannot read it: ${problem.why}`, {
      hint: problem.hint,
    });
}

function requireUnencrypted(bytes: Buffer, path: string): void {
  try {
    parseIdentity(bytes, path);
  } catch (error) {
    if (!(error instanceof SignpipeError) || error.code !== 'identity-passphrase') return;
    throw usage('identity-needs-agent', `${path}: Git cannot use an encrypted SSH identity by itself`, {
      cause: error,
      hint: 'load the key into an ssh-agent and set ssh.agent to its socket, or use a key without passphrase',
    });
  }
}

function identityOptions({ identity, agent }: SshOptions): string[] {
  const agentOption = `IdentityAgent=${agent === undefined ? 'none' : configPath(agent)}`;
  if (identity === undefined) return [agentOption, 'IdentityFile=none', 'IdentitiesOnly=no'];
  if (agent === undefined) requireOpenIdentity(identity);
  return [agentOption, `IdentityFile=${configPath(identity)}`, 'IdentitiesOnly=yes'];
}

/** ssh_config(5) takes whole seconds, and 0 would mean never. */
const seconds = (ms: number): number => Math.max(1, Math.ceil(ms / 1000));

/** How long an idle shared connection stays open, in seconds: longer than between a request's fetch and its receipt. */
const SHARED_FOR = 600;

/** With a socket, the first connection stays open for later runs; without one, each run connects by itself. */
const sharing = (socket: string | undefined): string[] =>
  socket === undefined
    ? ['ControlMaster=no', 'ControlPath=none']
    : ['ControlMaster=auto', `ControlPath=${configPath(socket)}`, `ControlPersist=${SHARED_FOR}`];

/**
 * The value of Git's `core.sshCommand`: the system's ssh with the same identity and known_hosts as `connectSsh`, and
 * without the user's or the system's ssh_config(5). If `socket` is given, its runs share a connection: see `SharedSsh`. Throws `identity-needs-agent`, `identity-invalid`, `ssh-path-unusable` (usage).
 */
export function gitSshCommand(options: SshOptions, socket?: string): string {
  const times = timesOf(options);
  const settings = [
    ...identityOptions(options),
    `UserKnownHostsFile=${configPath(options.knownHosts)}`,
    'GlobalKnownHostsFile=none',
    'StrictHostKeyChecking=yes',
    'UpdateHostKeys=no',
    'VerifyHostKeyDNS=no',
    'BatchMode=yes',
    'PreferredAuthentications=publickey',
    'ForwardAgent=no',
    'ForwardX11=no',
    'ClearAllForwardings=yes',
    'PermitLocalCommand=no',
    ...sharing(socket),
    `ConnectTimeout=${seconds(times.connectTimeoutMs)}`,
    `ServerAliveInterval=${seconds(times.keepAliveMs)}`,
    `ServerAliveCountMax=${times.keepAliveCount}`,
  ];
  return shellCommand(['ssh', '-F', '/dev/null', ...settings.flatMap((setting) => ['-o', setting])]);
}

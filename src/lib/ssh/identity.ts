import { stat } from 'node:fs/promises';
import ssh2, { type AgentAuthMethod, type AuthMethod, type ParsedKey, type PublicKeyAuthMethod } from 'ssh2';
import { hasCode, messageOf, usage } from '../errors.ts';
import { readAll, withFile } from '../bytes/byte-source.ts';
import { keyFormatOf, pemText } from '../recognize-key-file.ts';

/** The key to log in with: a key file, an agent, or both (the file is tried first). */
export interface IdentityOptions {
  /** Path of a private key in OpenSSH's format. */
  readonly identity?: string;
  /** The passphrase of the key file, if it is encrypted. */
  readonly passphrase?: string;
  /** Path of an ssh-agent's socket. */
  readonly agent?: string;
}

/** The largest key file that is read, in bytes. */
const KEY_LIMIT = 64 * 1024;

async function readKeyFile(path: string): Promise<Buffer> {
  try {
    return await withFile(path, (file) => readAll(file, KEY_LIMIT));
  } catch (error) {
    throw usage('identity-unreadable', `${path}: the SSH identity cannot be read: ${messageOf(error)}`, {
      cause: error,
      hint: 'set ssh.identity to a private key file that this account may read',
    });
  }
}

/** Whether ssh2's error is about the passphrase; it has a different text for each format and no codes. */
const isAboutPassphrase = (error: Error): boolean => /passphrase|encrypted/i.test(error.message);

function passphraseError(path: string, given: boolean): Error {
  return given
    ? usage('identity-passphrase', `${path}: the passphrase does not open the SSH identity`, {
        hint: 'give the passphrase that the key was made with; `ssh-keygen -y -f KEY` shows whether it is right',
      })
    : usage('identity-passphrase', `${path}: the SSH identity is encrypted, and no passphrase was given`, {
        hint: 'give its passphrase, or load the key into an ssh-agent and name its socket',
      });
}

/** Parses a private key; throws `identity-passphrase`, `identity-invalid` (usage). */
export function parseIdentity(bytes: Buffer, path: string, passphrase?: string): ParsedKey {
  const parsed: unknown = ssh2.utils.parseKey(pemText(bytes), passphrase);
  if (parsed instanceof Error && isAboutPassphrase(parsed))
    throw passphraseError(path, passphrase !== undefined && passphrase !== '');
  const key = (Array.isArray(parsed) ? parsed[0] : parsed) as ParsedKey | Error | undefined;
  if (key instanceof Error || !key?.isPrivateKey()) throw notAnIdentity(bytes, path, key);
  return key;
}

function notAnIdentity(bytes: Buffer, path: string, cause: unknown): Error {
  const format = keyFormatOf(bytes);
  const what = format ? `is ${format.what}, not a` : 'not a';
  return usage('identity-invalid', `${path}: ${what} private SSH key that can be used`, {
    cause,
    hint:
      format?.sshHint ?? 'make one with `ssh-keygen -t ed25519 -f KEY`; name the private file, not the .pub',
  });
}

async function requireSocket(path: string): Promise<void> {
  const stats = await stat(path).catch((error: unknown) => {
    if (hasCode(error, 'ENOENT')) return null;
    throw usage('agent-unavailable', `${path}: the ssh-agent cannot be reached: ${messageOf(error)}`);
  });
  if (stats?.isSocket()) return;
  throw usage('agent-unavailable', `${path}: no ssh-agent listens there`, {
    hint: 'start ssh-agent, and set ssh.agent (or SSH_AUTH_SOCK) to its socket',
  });
}

/** The authentication methods in the order to try them; throws usage errors before any connection is made. */
export async function authMethods(user: string, options: IdentityOptions): Promise<AuthMethod[]> {
  const methods: AuthMethod[] = [];
  if (options.identity !== undefined) {
    const bytes = await readKeyFile(options.identity);
    const key = parseIdentity(bytes, options.identity, options.passphrase);
    const method: PublicKeyAuthMethod = { type: 'publickey', username: user, key };
    methods.push(method);
  }
  if (options.agent !== undefined) {
    await requireSocket(options.agent);
    const method: AgentAuthMethod = { type: 'agent', username: user, agent: options.agent };
    methods.push(method);
  }
  if (methods.length > 0) return methods;
  throw usage('identity-missing', 'neither an SSH identity nor an agent is configured', {
    hint: 'set ssh.identity to a private key file',
  });
}

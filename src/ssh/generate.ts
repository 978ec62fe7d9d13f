import { chmod } from 'node:fs/promises';
import ssh2 from 'ssh2';
import { writeFileAtomically } from '../io/atomic.ts';

/**
 * Makes an Ed25519 key pair in OpenSSH's format at `path` and `path.pub`; returns the public line.
 * Never overwrites: the caller checks, since a lost key may be somebody's only one.
 */
export async function generateSshKey(path: string, comment: string): Promise<string> {
  const pair = ssh2.utils.generateKeyPairSync('ed25519', { comment });
  const line = pair.public.trim();
  await writeFileAtomically(path, pair.private, { mode: 0o600 });
  await chmod(path, 0o600);
  await writeFileAtomically(`${path}.pub`, `${line}\n`);
  return line;
}

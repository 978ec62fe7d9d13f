import { chmod } from 'node:fs/promises';
import ssh2 from 'ssh2';
import { writeFileAtomically } from '../bytes/atomic-file.ts';

/** Length of an Ed25519 public key in wire form (RFC 8709 section 4): two length fields, type and 32 bytes. */
const WIRE_LENGTH = 51;

/** Generates an Ed25519 key pair; again if ssh2 dropped a leading zero byte of the public key, as it does in 1 of 256. */
export function generateKeyPair(comment: string): { readonly private: string; readonly public: string } {
  for (;;) {
    const pair = ssh2.utils.generateKeyPairSync('ed25519', { comment });
    const wire = Buffer.from(pair.public.split(' ')[1] ?? '', 'base64');
    if (wire.length === WIRE_LENGTH) return pair;
  }
}

/**
 * Writes a new Ed25519 key pair in OpenSSH's format to `path` and `path.pub`; returns the public line.
 * Replaces existing files: the caller must check for them first.
 */
export async function generateSshKey(path: string, comment: string): Promise<string> {
  const pair = generateKeyPair(comment);
  const line = pair.public.trim();
  await writeFileAtomically(path, pair.private, { mode: 0o600 });
  await chmod(path, 0o600);
  await writeFileAtomically(`${path}.pub`, `${line}\n`);
  return line;
}

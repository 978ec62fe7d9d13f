import { messageOf, SignpipeError, usage } from '../errors.ts';
import { KeyRevocationList } from './krl.ts';
import type { SshPublicKey } from './public-key.ts';
import { parsePublicKeyLine } from './ssh-key.ts';

const MAX_LINES = 100_000;
const FINGERPRINT = /^SHA256:[A-Za-z0-9+/]{43}$/;

/**
 * Keys whose signatures are refused, whatever the allowed signers file says and whenever they were made.
 *
 * The file has one public key (`TYPE BASE64 [COMMENT]`) or one fingerprint (`SHA256:`, as `ssh-keygen -l` prints it)
 * per line, and `#` comments; or it is OpenSSH's binary KRL, as `ssh-keygen -k` makes it. A revoked authority revokes
 * its certificates, and a revoked key every certificate for it. (git's `gpg.ssh.revocationFile` takes the same
 * formats, except bare fingerprints.)
 */
export class RevokedKeys {
  private constructor(
    private readonly fingerprints: ReadonlySet<string>,
    private readonly list: KeyRevocationList | null,
  ) {}

  /** Parses a file; `name` is its name in messages. Errors are `usage`, with the line. */
  static parse(bytes: Buffer, name: string): RevokedKeys {
    if (KeyRevocationList.recognises(bytes)) return new RevokedKeys(new Set(), parseList(bytes, name));
    const lines = bytes.toString('utf8').split('\n');
    if (lines.length > MAX_LINES)
      throw usage('revoked-keys-malformed', `${name} has more than ${MAX_LINES} lines`);
    return new RevokedKeys(
      new Set(lines.flatMap((line, index) => parseLine(line, `${name}:${index + 1}`))),
      null,
    );
  }

  /** Why the key is revoked, or null: completes a sentence whose subject is the key, such as `is revoked`. */
  reason(key: SshPublicKey): string | null {
    if (this.fingerprints.has(key.fingerprint)) return 'is revoked';
    const authority = key.certificate?.authority.fingerprint;
    if (authority !== undefined && this.fingerprints.has(authority))
      return 'is certified by an authority that is revoked';
    return this.list?.reason(key) ?? null;
  }
}

function parseList(bytes: Buffer, name: string): KeyRevocationList {
  try {
    return new KeyRevocationList(bytes, name);
  } catch (error) {
    throw malformed(error, 'make the list again with ssh-keygen -k');
  }
}

function parseLine(line: string, place: string): string[] {
  const text = line.trim();
  if (text === '' || text.startsWith('#')) return [];
  if (text.startsWith('SHA256:')) {
    const [fingerprint = ''] = text.split(/[ \t]/);
    if (FINGERPRINT.test(fingerprint)) return [fingerprint];
    throw usage('revoked-keys-malformed', `${place} is not a SHA-256 fingerprint`);
  }
  try {
    return [parsePublicKeyLine(text, `the key in ${place}`).fingerprint];
  } catch (error) {
    throw malformed(error, 'a line is a public key, TYPE BASE64, or a fingerprint, SHA256:...');
  }
}

function malformed(error: unknown, hint: string): unknown {
  if (!(error instanceof SignpipeError)) return error;
  return usage('revoked-keys-malformed', messageOf(error), { hint, cause: error });
}

import { findPassphrase } from '../keys/passphrase.ts';
import type { ChecksumKey } from './checksum-key.ts';
import { openSshChecksumKey } from './ssh-checksum-key.ts';

/** A key in a file, and the file whose first line is its passphrase. */
interface KeyFile {
  readonly key: string;
  readonly passphraseFile?: string | undefined;
}

/** Which keys sign checksum files; each is optional. */
export interface ChecksumKeySettings {
  readonly ssh?: KeyFile | undefined;
}

/** A passphrase comes from its file only: SIGNPIPE_PASSPHRASE belongs to the signing key. */
const passphraseOf = (
  { passphraseFile: file }: Pick<KeyFile, 'passphraseFile'>,
  warn: (message: string) => void,
): Promise<string | undefined> => findPassphrase({ file, warn, environment: {} });

/** Opens all keys; throws the usage errors of each kind. `warn` reports a file that other users can read. */
export async function openChecksumKeys(
  { ssh }: ChecksumKeySettings,
  warn: (message: string) => void,
): Promise<ChecksumKey[]> {
  const keys: ChecksumKey[] = [];
  if (ssh)
    keys.push(
      await openSshChecksumKey({
        path: ssh.key,
        passphrase: await passphraseOf(ssh, warn),
        agent: process.env['SSH_AUTH_SOCK'],
      }),
    );
  return keys;
}

import { warnIfOthersCanRead } from '../keys/key-file.ts';
import type { ChecksumKey } from './checksum-key.ts';
import {
  expiryOf,
  fingerprintOf,
  loadOpenPgp,
  readOnlyKey,
  signingPartOf,
  unlock,
  verifiedSignature,
} from './openpgp-keys.ts';

interface OpenPgpKeySource {
  /** What `gpg --export-secret-keys` writes, armored or not. */
  readonly path: string;
  readonly passphrase?: string | undefined;
  /** Called with a sentence if others can read the file. */
  readonly warn: (message: string) => void;
  readonly now: Date;
}

/** Opens an OpenPGP key in a file for checksum files; throws the usage errors of `openpgp-keys.ts`. */
export async function openOpenPgpChecksumKey({
  path,
  passphrase,
  warn,
  now,
}: OpenPgpKeySource): Promise<ChecksumKey> {
  const openpgp = await loadOpenPgp();
  const key = await readOnlyKey(openpgp, path);
  const signing = await signingPartOf(key, path, now);
  const unlocked = await unlock(key, { signing, path, passphrase });
  await warnIfOthersCanRead(path, 'the secret key', warn);
  return {
    kind: 'openpgp',
    id: fingerprintOf(key),
    expires: await expiryOf(key, signing),
    sign: async (content) => {
      const at = new Date();
      const armored = await openpgp.sign({
        message: await openpgp.createMessage({ binary: new Uint8Array(content) }),
        signingKeys: unlocked,
        signingKeyIDs: signing.getKeyID(),
        detached: true,
        date: at,
      });
      return verifiedSignature(openpgp, armored, { key, content, what: path, at });
    },
  };
}

import type { Key, PrivateKey, PublicKey, Subkey } from 'openpgp';
import { messageOf, SignpipeError, usage } from '../../lib/errors.ts';
import { textOf } from '../../lib/recognize-key-file.ts';
import { readKeyFile } from '../keys/key-file.ts';

/*
 * OpenPGP keys as files, as `gpg --export` and `gpg --export-secret-keys` write them. The package openpgp is large, and is
 * loaded only when such a key is used.
 */

export type OpenPgp = typeof import('openpgp');

/** A key file may ask for at most 2^20 KiB of memory to be decrypted (Argon2). */
const MOST_MEMORY_EXPONENT = 20;

/** Loads the package, with limits for what a key file may ask for. */
export async function loadOpenPgp(): Promise<OpenPgp> {
  const openpgp = await import('openpgp');
  openpgp.config.maxArgon2MemoryExponent = MOST_MEMORY_EXPONENT;
  return openpgp;
}

const ARMOR = /-----BEGIN PGP (?:PRIVATE|PUBLIC) KEY BLOCK-----/;

/** The only key of a file; throws `openpgp-key-unreadable`, and `openpgp-too-large` (usage). */
export async function readOnlyKey(openpgp: OpenPgp, path: string): Promise<Key> {
  const bytes = await readKeyFile(path, 'openpgp');
  const text = textOf(bytes);
  const isArmored = text !== null && ARMOR.test(text);
  let keys: Key[];
  try {
    keys = await (isArmored
      ? openpgp.readKeys({ armoredKeys: text })
      : openpgp.readKeys({ binaryKeys: new Uint8Array(bytes) }));
  } catch (error) {
    throw usage('openpgp-key-unreadable', `${path} is not a file with an OpenPGP key: ${messageOf(error)}`, {
      hint: 'export one with gpg --armor --export-secret-keys KEY',
    });
  }
  const [key, ...more] = keys;
  if (key && more.length === 0) return key;
  throw usage('openpgp-key-unreadable', `${path} holds ${keys.length} keys, not one`, {
    hint: 'export the one that is to sign: gpg --armor --export-secret-keys FINGERPRINT',
  });
}

/** What openpgp says about a key that cannot sign, in its words, and what that means. */
const REASONS: readonly { readonly says: RegExp; readonly refusal: string; readonly hint: string }[] = [
  {
    says: /revoked/i,
    refusal: 'openpgp-key-revoked',
    hint: 'make another key, and publish it',
  },
  {
    says: /expired|not yet valid|creation time|in the future/i,
    refusal: 'openpgp-key-expired',
    hint: 'extend it with gpg --quick-set-expire, export it again and publish it; or check the clock of this machine',
  },
];

/** Primary keys that this program cannot use: no subkey helps. The package reports some curves as a module that is missing. */
const UNUSABLE = {
  says: /too weak|Cannot find module|unsupported|unknown (?:public key )?algorithm/i,
  refusal: 'openpgp-key-cannot-sign',
  hint: 'make another key: Ed25519, a NIST curve, or RSA with 3072 bits (DSA, Brainpool and secp256k1 are not supported)',
};

const CANNOT_SIGN = {
  refusal: 'openpgp-key-cannot-sign',
  hint: 'add a subkey that signs (gpg --quick-add-key FINGERPRINT ed25519 sign), and export the key again',
};

/**
 * The part of a key that signs at a time: the newest valid subkey for signing, or else the primary key. Throws (usage)
 * `openpgp-key-revoked`, `openpgp-key-expired` and `openpgp-key-cannot-sign`.
 */
export async function signingPartOf(key: Key, path: string, at: Date): Promise<PublicKey | Subkey> {
  try {
    return await key.getSigningKey(undefined, at);
  } catch (error) {
    const message = messageOf(error);
    const reason = [...REASONS, UNUSABLE].find(({ says }) => says.test(message));
    const { refusal, hint } = reason ?? CANNOT_SIGN;
    const why = /Cannot find module/.test(message) ? 'its curve is not supported' : message;
    throw usage(refusal, `${path}: the key cannot sign: ${why}`, { hint, cause: error });
  }
}

/** When the key or the part of it that signs expires, whichever is first; null if never. */
export async function expiryOf(key: Key, signing: PublicKey | Subkey): Promise<Date | null> {
  const times = [await key.getExpirationTime(), await signing.getExpirationTime()];
  const dates = times.filter((time) => time instanceof Date);
  return dates.sort((a, b) => a.getTime() - b.getTime())[0] ?? null;
}

/** The fingerprint as gpg prints it. */
export const fingerprintOf = (key: Key): string => key.getFingerprint().toUpperCase();

/**
 * Decrypts the signing part of a private key. Throws (usage) `openpgp-key-public`, `openpgp-key-not-in-file`,
 * `openpgp-key-passphrase-missing` and `openpgp-key-passphrase-wrong`.
 */
export async function unlock(
  key: Key,
  {
    signing,
    path,
    passphrase,
  }: { signing: PublicKey | Subkey; path: string; passphrase: string | undefined },
): Promise<PrivateKey> {
  const { keyPacket } = signing;
  if (!key.isPrivate() || !('privateParams' in keyPacket))
    throw usage('openpgp-key-public', `${path} holds a public key, which cannot sign`, {
      hint: 'export the secret one: gpg --armor --export-secret-keys FINGERPRINT; or let gpg sign: checksums.openpgp.command',
    });
  if (keyPacket.isMissingSecretKeyMaterial())
    throw usage(
      'openpgp-key-not-in-file',
      `${path}: the secret part of the key that signs is not in the file`,
      {
        hint: 'it is on a card or was left out when the key was exported; let gpg sign: checksums.openpgp.command',
      },
    );
  if (keyPacket.privateParams !== null) return key;
  if (passphrase === undefined)
    throw usage('openpgp-key-passphrase-missing', `${path} is encrypted, and no passphrase was given`, {
      hint: 'write its passphrase into a file, and name that in passphraseFile',
    });
  try {
    await keyPacket.decrypt(passphrase);
  } catch {
    // No cause: it may quote what was decrypted.
    throw usage('openpgp-key-passphrase-wrong', `${path} cannot be opened with the passphrase given`, {
      hint: 'check the passphrase file',
    });
  }
  return key;
}

/**
 * Checks that an armored text is one detached signature of `key` over `content`, and returns it as this program would
 * write it. Throws `checksum-signature-unsound` (local).
 */
export async function verifiedSignature(
  openpgp: OpenPgp,
  armored: string,
  { key, content, what, at }: { key: Key; content: Buffer; what: string; at: Date },
): Promise<Buffer> {
  try {
    const signature = await openpgp.readSignature({ armoredSignature: armored });
    const message = await openpgp.createMessage({ binary: new Uint8Array(content) });
    const { signatures } = await openpgp.verify({
      message,
      signature,
      verificationKeys: key.toPublic(),
      format: 'binary',
      date: at,
    });
    const [only, ...more] = signatures;
    if (!only || more.length > 0) throw new Error(`${signatures.length} signatures instead of one`);
    await only.verified;
    return Buffer.from(signature.armor());
  } catch (error) {
    throw new SignpipeError(
      'local',
      'checksum-signature-unsound',
      `${what}: its signature is not one of ${fingerprintOf(key)} over the checksum file: ${messageOf(error)}`,
      { hint: 'check that key and public key belong together', cause: error },
    );
  }
}

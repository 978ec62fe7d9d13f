import { createPrivateKey, createPublicKey, scrypt, timingSafeEqual, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import { blake2b } from '../../lib/blake2b.ts';
import { SignpipeError, usage } from '../../lib/errors.ts';

/** A secret key of minisign, ready to sign. */
export interface MinisignKey {
  /** Eight bytes, which signatures name. */
  readonly id: Buffer;
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

/** In bytes: 2 each for three algorithms, 32 salt, 8 and 8 limits, 8 key id, 32 seed, 32 public key, 32 checksum. */
const SIZE = 158;
const KEY_AT = 54;
/** `crypto_pwhash_scryptsalsa208sha256_MEMLIMIT_SENSITIVE`, which minisign writes; it falls back to less. */
const MAX_MEMORY = 2n ** 30n;
/** `crypto_pwhash_scryptsalsa208sha256_OPSLIMIT_SENSITIVE`. */
const MAX_OPERATIONS = 2n ** 25n;

const unreadable = (path: string, why: string): SignpipeError =>
  usage('minisign-key-unreadable', `${path} ${why}`, { hint: 'make a key with minisign -G' });

/** The base64 line of a key file, after its comment; nothing may follow. */
function decode(text: string, path: string): Buffer {
  const [comment = '', line = '', ...rest] = text.replaceAll('\r\n', '\n').split('\n');
  if (!comment.startsWith('untrusted comment: ') || rest.some((each) => each !== ''))
    throw unreadable(path, 'is not a minisign secret key file of two lines');
  const bytes = Buffer.from(line, 'base64');
  if (bytes.toString('base64') !== line) throw unreadable(path, 'has a second line that is not base64');
  if (bytes.length === 42) throw unreadable(path, 'is a minisign public key, not a secret one');
  if (bytes.length !== SIZE) throw unreadable(path, 'is not a minisign secret key');
  return bytes;
}

/** Libsodium's choice of scrypt's parameters for its two limits (`pickparams`); r is 8. */
function parametersFor(operations: number, memory: number): { N: number; r: number; p: number } {
  const r = 8;
  const isLimitedByOperations = operations < memory / 32;
  const most = isLimitedByOperations ? operations / (r * 4) : memory / (r * 128);
  let N = 2;
  while (N <= most / 2) N *= 2;
  const p = isLimitedByOperations ? 1 : Math.max(1, Math.floor(operations / 4 / N / r));
  return { N, r, p };
}

type Derive = (
  passphrase: Buffer,
  salt: Buffer,
  length: number,
  options: { N: number; r: number; p: number; maxmem: number },
) => Promise<Buffer>;

/** The key part, decrypted: with a wrong passphrase it is noise. */
async function decrypt(bytes: Buffer, passphrase: string, path: string): Promise<Buffer> {
  const operations = bytes.readBigUInt64LE(38);
  const memory = bytes.readBigUInt64LE(46);
  if (operations > MAX_OPERATIONS || memory > MAX_MEMORY)
    throw usage(
      'minisign-key-kdf',
      `${path}: opening it would take ${memory} bytes of memory and ${operations} operations, more than minisign itself asks for`,
      { hint: 'make a key with minisign -G; was the file changed?' },
    );
  const parameters = parametersFor(Number(operations < 32768n ? 32768n : operations), Number(memory));
  // 1 MiB for what scrypt needs besides its table.
  const maxmem = 128 * parameters.r * (parameters.N + parameters.p) + 2 ** 20;
  const derive = promisify(scrypt) as Derive;
  try {
    const stream = await derive(Buffer.from(passphrase), bytes.subarray(6, 38), SIZE - KEY_AT, {
      ...parameters,
      maxmem,
    });
    return Buffer.from(bytes.subarray(KEY_AT).map((byte, index) => byte ^ (stream[index] ?? 0)));
  } catch (error) {
    throw new SignpipeError('local', 'minisign-key-memory', `${path}: cannot be decrypted on this machine`, {
      hint: `opening it takes ${Math.ceil(maxmem / 2 ** 20)} MiB of memory; or change it to one without a passphrase: minisign -C -W`,
      cause: error,
    });
  }
}

/** PKCS #8 of an Ed25519 key, before its 32 bytes (RFC 8410, 7). */
const PKCS8_HEAD = Buffer.from('302e020100300506032b657004220420', 'hex');

/** Builds the key of the decrypted part; null if the public key in it is that of another seed. */
function keyOf(secret: Buffer): MinisignKey | null {
  const seed = secret.subarray(8, 40);
  const der = Buffer.concat([PKCS8_HEAD, seed]);
  const privateKey = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  const publicKey = createPublicKey(privateKey);
  const raw = publicKey.export({ format: 'der', type: 'spki' }).subarray(-32);
  return raw.equals(secret.subarray(40, 72))
    ? { id: Buffer.from(secret.subarray(0, 8)), privateKey, publicKey }
    : null;
}

/**
 * Opens the secret key file of minisign, encrypted or made with `-W`. Errors (usage): `minisign-key-unreadable`,
 * `minisign-key-passphrase-missing`, `minisign-key-passphrase-wrong`, `minisign-key-kdf` if it would take more memory or
 * time than minisign's own keys; `minisign-key-memory` (local) if this machine has too little.
 */
export async function openMinisignKey(
  text: string,
  passphrase: string | undefined,
  path: string,
): Promise<MinisignKey> {
  const bytes = decode(text, path);
  const algorithms = bytes.toString('latin1', 0, 6);
  if (algorithms === 'Ed\0\0B2') {
    const key = keyOf(bytes.subarray(KEY_AT));
    if (key) return key;
    throw unreadable(path, 'holds a private key that does not belong to its public key');
  }
  if (algorithms !== 'EdScB2') throw unreadable(path, 'uses algorithms that minisign does not have');
  if (passphrase === undefined)
    throw usage('minisign-key-passphrase-missing', `${path} is encrypted, and no passphrase was given`, {
      hint: 'write its passphrase into a file, and name that in passphraseFile',
    });
  const secret = await decrypt(bytes, passphrase, path);
  const checksum = blake2b(Buffer.concat([bytes.subarray(0, 2), secret.subarray(0, 72)]), 32);
  const key = timingSafeEqual(checksum, secret.subarray(72)) ? keyOf(secret) : null;
  if (key) return key;
  throw usage('minisign-key-passphrase-wrong', `${path} cannot be opened with the passphrase given`, {
    hint: 'check the passphrase file',
  });
}

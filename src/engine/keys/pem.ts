import { createPrivateKey, type KeyObject } from 'node:crypto';
import { hasCode, usage, type SignpipeError } from '../../lib/errors.ts';
import { keyFormatOf, pemText } from '../../lib/recognize-key-file.ts';
import { readCertificates } from './certificate-file.ts';
import { readingKeyFile, readKeyFile, warnIfOthersCanRead } from './key-file.ts';
import { passphraseMissing, WRONG_PASSPHRASE_HINT } from './passphrase.ts';
import { signingKey, type SigningKey } from './signing-key.ts';

interface PemOptions {
  /** The certificate and its chain in any order: PEM, one certificate in DER, or PKCS #7 (`.p7b`, `.spc`). */
  readonly certificate: string;
  /** The private key in PEM: PKCS#8, PKCS#1 or SEC 1, encrypted or not. May be the file of the certificate. */
  readonly key: string;
  readonly passphrase?: string | undefined;
  /** Asks for the passphrase if the key is encrypted and none is given. */
  readonly ask?: (() => Promise<string | undefined>) | undefined;
  /** Called with a sentence if others can read the private key. */
  readonly warn?: ((message: string) => void) | undefined;
}

/** The PEM labels of private keys (RFC 7468 10 and 11, and OpenSSL's older ones). */
const KEY_BLOCK = /-----BEGIN ([A-Z ]{0,20}PRIVATE KEY)-----((?:(?!-----)[^])*)-----END \1-----/g;
const READABLE = new Set(['PRIVATE KEY', 'ENCRYPTED PRIVATE KEY', 'RSA PRIVATE KEY', 'EC PRIVATE KEY']);

interface KeyBlock {
  readonly label: string;
  readonly body: string;
  /** The whole block, from BEGIN to END. */
  readonly text: string;
}

function findKey(bytes: Buffer, path: string): KeyBlock {
  const pem = pemText(bytes);
  const [block, another] = [...pem.matchAll(KEY_BLOCK)].map(([text, label = '', body = '']) => ({
    text,
    label,
    body,
  }));
  if (!block) {
    const format = keyFormatOf(bytes);
    throw usage('pem-no-key', `${path}: ${format ? `is ${format.what}` : 'holds no private key in PEM'}`, {
      hint: format?.hint ?? 'the file must have a line -----BEGIN PRIVATE KEY-----',
    });
  }
  if (another)
    throw usage('pem-several-keys', `${path}: holds more than one private key`, {
      hint: 'keep only the one that signs',
    });
  if (READABLE.has(block.label)) return block;
  const hint = keyFormatOf(bytes)?.hint;
  throw usage('key-unsupported', `${path}: a key in the format ${block.label} cannot sign programs`, {
    hint:
      block.label === 'OPENSSH PRIVATE KEY' && hint !== undefined ? hint : 'convert it: openssl pkcs8 -topk8',
  });
}

/** Maps an error of node:crypto (OpenSSL), which cannot read a private key. */
function keyError(cause: unknown, encrypted: boolean, path: string): SignpipeError {
  if (!encrypted)
    return usage('pem-malformed', `${path}: the private key cannot be read`, {
      hint: 'the file is damaged, or is not a private key in PEM',
      cause,
    });
  if (hasCode(cause, 'ERR_OSSL_EVP_UNSUPPORTED'))
    return usage(
      'key-encryption-unsupported',
      `${path}: the encryption of the private key is not supported`,
      {
        hint: 'encrypt it again: openssl pkcs8 -topk8 -v2 aes-256-cbc',
        cause,
      },
    );
  // With a wrong passphrase, one decryption in 256 has valid padding; then parsing the key fails.
  return usage('key-passphrase-wrong', `${path}: the passphrase does not open the private key`, {
    hint: WRONG_PASSPHRASE_HINT,
    cause,
  });
}

/** Throws `key-iterations`. Loads the BER parser only here, for speed: it takes 30 ms, and few keys need it. */
async function checkEncryption(bytes: Buffer, path: string): Promise<void> {
  const [{ parseBer }, { checkKdfLimits }] = await Promise.all([
    import('./ber.ts'),
    import('./kdf-limits.ts'),
  ]);
  checkKdfLimits(parseBer(bytes, path), path);
}

/** Throws `key-passphrase-missing`, `key-passphrase-wrong`, `key-encryption-unsupported`, `key-iterations`, `pem-malformed`. */
async function readKey({ key: path, passphrase: given, ask, warn }: PemOptions): Promise<KeyObject> {
  const { label, body, text } = findKey(await readKeyFile(path, 'pem'), path);
  if (warn) await warnIfOthersCanRead(path, 'the private key', warn);
  const modern = label === 'ENCRYPTED PRIVATE KEY';
  const encrypted = modern || /^Proc-Type: *4, *ENCRYPTED/m.test(body);
  const passphrase = given ?? (encrypted ? await ask?.() : undefined) ?? '';
  if (encrypted && passphrase === '') throw passphraseMissing(path);
  if (modern) await checkEncryption(Buffer.from(body, 'base64'), path);
  try {
    return createPrivateKey({ key: text, passphrase });
  } catch (error) {
    throw keyError(error, encrypted, path);
  }
}

/**
 * Opens a signing key from a certificate file and a key file.
 *
 * Throws usage errors: `pem-no-certificate`, `pem-no-key`, `pem-several-keys`, `pem-malformed`,
 * `pem-too-large`, `key-passphrase-missing`, `key-passphrase-wrong`, `key-does-not-match`, `key-too-weak`,
 * `key-unsupported`, `key-encryption-unsupported`, `key-iterations`.
 */
export async function openPemKey(options: PemOptions): Promise<SigningKey> {
  const certificates = await readCertificates(options.certificate);
  const key = await readingKeyFile('pem-malformed', () => readKey(options));
  return signingKey(key, certificates, options.key);
}

import { createDecipheriv, hash as hashOf, pbkdf2, scrypt } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { promisify } from 'node:util';
import forge from 'node-forge';
import {
  bmpOctets,
  DerReader,
  readInteger,
  readOctets,
  readOid,
  readSmallInteger,
  TAG,
  type Der,
} from '../asn1/der.ts';
import { digestName } from '../asn1/oids.ts';
import { invalid, usage, type SignpipeError } from '../errors.ts';

/**
 * Encryption of keys under a passphrase: PKCS#5 v2 (RFC 8018: PBES2 with PBKDF2 or scrypt) and
 * PKCS#12's own schemes (RFC 7292, appendices B and C). node:crypto does the work, but for RC2,
 * which OpenSSL 3 no longer offers by default and which old PFX files keep certificates under.
 */

/** One way to turn the typed passphrase into octets. Writers disagree about empty and non-ASCII ones. */
export interface Password {
  /** For PKCS#12's own key derivation: BMPString with its two zero octets (RFC 7292, B.1). */
  readonly bmp: Buffer;
  /** For PKCS#5: UTF-8. */
  readonly utf8: Buffer;
}

const terminated = (text: string): Buffer => Buffer.concat([bmpOctets(text), Buffer.alloc(2)]);

/**
 * The ways to read a passphrase, the likeliest first: as the standard says; an empty one without
 * its terminator (RFC 7292 leaves it open); and, as OpenSSL before 1.1 did, each UTF-8 octet a character.
 */
export function passwordsFrom(passphrase: string): Password[] {
  const utf8 = Buffer.from(passphrase, 'utf8');
  const standard = { bmp: terminated(passphrase), utf8 };
  if (passphrase === '') return [standard, { bmp: Buffer.alloc(0), utf8 }];
  const octetwise = { bmp: terminated(utf8.toString('latin1')), utf8 };
  return octetwise.bmp.equals(standard.bmp) ? [standard] : [standard, octetwise];
}

/**
 * What one file may cost, in PBKDF2 iterations: some seconds. OWASP asks for 600,000 an
 * encryption, and a file has three or four.
 */
const MOST_ITERATIONS = 12_000_000;

/** PKCS#12's derivation runs in JavaScript, where an iteration costs this many of PBKDF2's. */
const PKCS12_WEIGHT = 5;

/** The most memory that scrypt may take, in bytes. */
const MOST_SCRYPT_MEMORY = 64 * 1024 * 1024;

const LONGEST_SALT = 1024;

/** Adds up the work that a file asks for, and refuses before a hostile one can hang the signer. */
export class WorkBudget {
  private left = MOST_ITERATIONS;

  constructor(readonly what: string) {}

  /** Throws `key-iterations` when the file asks for more work than any honest one. */
  spend(iterations: bigint, weight = 1): number {
    if (iterations < 1n || iterations * BigInt(weight) > BigInt(this.left))
      throw usage(
        'key-iterations',
        `${this.what}: asks for ${iterations} iterations of key derivation, more than is sensible`,
        { hint: 'Export the key again with fewer iterations' },
      );
    this.left -= Number(iterations) * weight;
    return Number(iterations);
  }
}

const unsupported = (what: string, oid: string): SignpipeError =>
  usage('key-encryption-unsupported', `${what}: encrypted in a way that is not supported (${oid})`, {
    hint: 'Export it again with AES-256 and PBKDF2, for instance by openssl pkcs12 -export',
  });

function saltOf(der: Der, what: string): Buffer {
  const salt = readOctets(der, what);
  if (salt.length <= LONGEST_SALT) return salt;
  throw usage('key-iterations', `${what}: a salt of ${salt.length} bytes`);
}

/** `salt` repeated to a whole number of blocks, as RFC 7292 B.2 steps 2 and 3 want. */
function repeated(bytes: Buffer, block: number): Buffer {
  return Buffer.alloc(block * Math.ceil(bytes.length / block), bytes);
}

/** I_j = (I_j + B + 1) mod 2^(8v) for every block of I (RFC 7292, B.2, step 6 C). */
function addToBlocks(blocks: Buffer, addend: Buffer): void {
  for (let start = 0; start < blocks.length; start += addend.length) {
    let carry = 1;
    for (let at = addend.length - 1; at >= 0; at -= 1) {
      carry += (blocks[start + at] ?? 0) + (addend[at] ?? 0);
      blocks[start + at] = carry & 0xff;
      carry >>= 8;
    }
  }
}

/** What a derived key is for (RFC 7292, B.3). */
export const PURPOSE = { key: 1, iv: 2, mac: 3 } as const;

/** How many hashes to make before others may have the thread. */
const HASHES_A_TURN = 20_000;

interface Pkcs12Derivation {
  readonly hash: string;
  readonly salt: Buffer;
  readonly iterations: number;
  readonly purpose: number;
  /** Octets wanted. */
  readonly length: number;
}

/** PKCS#12 key derivation (RFC 7292, B.2). `password.bmp` is used. */
export async function derivePkcs12(password: Password, derivation: Pkcs12Derivation): Promise<Buffer> {
  const { hash, salt, iterations, purpose, length } = derivation;
  const block = hash === 'sha384' || hash === 'sha512' ? 128 : 64;
  const blocks = Buffer.concat([repeated(salt, block), repeated(password.bmp, block)]);
  const result: Buffer[] = [];
  for (let have = 0; have < length;) {
    let digest = Buffer.concat([Buffer.alloc(block, purpose), blocks]);
    for (let i = 0; i < iterations; i += 1) {
      digest = hashOf(hash, digest, 'buffer');
      if (i % HASHES_A_TURN === HASHES_A_TURN - 1) await nextTurn();
    }
    result.push(digest);
    have += digest.length;
    addToBlocks(blocks, Buffer.alloc(block, digest));
  }
  return Buffer.concat(result).subarray(0, length);
}

/** One of RFC 7292's own schemes: SHA-1 derives key and initialisation vector. */
interface Pkcs12Scheme {
  readonly cipher: 'des-ede3-cbc' | 'rc2';
  readonly keyBytes: number;
  /** Two-key triple DES: the first key is also the third. */
  readonly twoKeys?: true;
}

/** RFC 7292, appendix C. RC4 is left out: no writer that we know of uses it for keys. */
const PKCS12_SCHEMES: Record<string, Pkcs12Scheme> = {
  '1.2.840.113549.1.12.1.3': { cipher: 'des-ede3-cbc', keyBytes: 24 },
  '1.2.840.113549.1.12.1.4': { cipher: 'des-ede3-cbc', keyBytes: 16, twoKeys: true },
  '1.2.840.113549.1.12.1.5': { cipher: 'rc2', keyBytes: 16 },
  '1.2.840.113549.1.12.1.6': { cipher: 'rc2', keyBytes: 5 },
};

const PBES2 = '1.2.840.113549.1.5.13';
const PBKDF2 = '1.2.840.113549.1.5.12';
const SCRYPT = '1.3.6.1.4.1.11591.4.11';

/** PBKDF2's pseudorandom functions (RFC 8018, B.1.2), by the digest's name for node:crypto. */
const PSEUDORANDOM: Record<string, string> = {
  '1.2.840.113549.2.7': 'sha1',
  '1.2.840.113549.2.8': 'sha224',
  '1.2.840.113549.2.9': 'sha256',
  '1.2.840.113549.2.10': 'sha384',
  '1.2.840.113549.2.11': 'sha512',
};

const CIPHERS: Record<string, { name: string; keyBytes: number }> = {
  '1.2.840.113549.3.7': { name: 'des-ede3-cbc', keyBytes: 24 },
  '2.16.840.1.101.3.4.1.2': { name: 'aes-128-cbc', keyBytes: 16 },
  '2.16.840.1.101.3.4.1.22': { name: 'aes-192-cbc', keyBytes: 24 },
  '2.16.840.1.101.3.4.1.42': { name: 'aes-256-cbc', keyBytes: 32 },
};

const pbkdf2Async = promisify(pbkdf2);

/** Shorter keys would let a MAC be forged by trial (RFC 9579, 7, as amended by its successor RFC 9879). */
const SHORTEST_MAC_KEY = 20;
const LONGEST_MAC_KEY = 256;

function macKeyLength(stated: Der | undefined, what: string): number {
  const length = stated ? readSmallInteger(stated, what) : 0;
  if (length >= SHORTEST_MAC_KEY && length <= LONGEST_MAC_KEY) return length;
  throw invalid('pfx-mac', `${what}: its MAC has a key of ${length} bytes`);
}

/**
 * PBKDF2 with the parameters of an AlgorithmIdentifier (RFC 8018, A.2). `length` is in octets; null
 * takes the parameters' own, which must be there then, and no shorter than a MAC's key may be.
 */
export async function deriveByPbkdf2(
  parameters: Der,
  password: Password,
  length: number | null,
  budget: WorkBudget,
): Promise<Buffer> {
  const { what } = budget;
  const reader = new DerReader(parameters, what);
  const salt = saltOf(reader.next(TAG.octetString), what);
  const iterations = budget.spend(readInteger(reader.next(TAG.integer), what));
  const stated = reader.optional(TAG.integer);
  const prf = reader.optional(TAG.sequence);
  const prfOid = prf ? readOid(new DerReader(prf, what).next(TAG.oid), what) : '1.2.840.113549.2.7';
  reader.end();
  const hash = PSEUDORANDOM[prfOid];
  if (!hash) throw unsupported(what, prfOid);
  return pbkdf2Async(password.utf8, salt, iterations, length ?? macKeyLength(stated, what), hash);
}

function deriveByScrypt(
  parameters: Der,
  password: Password,
  length: number,
  budget: WorkBudget,
): Promise<Buffer> {
  const { what } = budget;
  const reader = new DerReader(parameters, what);
  const salt = saltOf(reader.next(TAG.octetString), what);
  const [N, r, p] = [reader.next(TAG.integer), reader.next(TAG.integer), reader.next(TAG.integer)].map((n) =>
    readInteger(n, what),
  );
  if (N === undefined || r === undefined || p === undefined) throw unsupported(what, SCRYPT);
  // 128 N r octets of memory, p times over: one unit of work for each kibibyte that is touched.
  budget.spend((N * r * p) / 8n + 1n);
  const options = { N: Number(N), r: Number(r), p: Number(p), maxmem: MOST_SCRYPT_MEMORY };
  return new Promise((resolve, reject) => {
    const failed = (cause: unknown): void =>
      reject(usage('key-iterations', `${what}: scrypt parameters that are not acceptable`, { cause }));
    try {
      scrypt(password.utf8, salt, length, options, (error, key) => (error ? failed(error) : resolve(key)));
    } catch (error) {
      failed(error);
    }
  });
}

/** The clear text, or undefined when the padding says that the key was wrong. */
function decipher(cipher: string, key: Buffer, iv: Buffer, data: Buffer): Buffer | undefined {
  try {
    const stream = createDecipheriv(cipher, key, iv);
    return Buffer.concat([stream.update(data), stream.final()]);
  } catch {
    return undefined;
  }
}

function decipherRc2(key: Buffer, iv: Buffer, data: Buffer): Buffer | undefined {
  const stream = forge.rc2.createDecryptionCipher(
    forge.util.createBuffer(key.toString('latin1')),
    key.length * 8,
  );
  stream.start(iv.toString('latin1'));
  stream.update(forge.util.createBuffer(data.toString('latin1')));
  if (data.length === 0 || data.length % 8 !== 0 || !stream.finish()) return undefined;
  return Buffer.from(stream.output.getBytes(), 'latin1');
}

async function decryptPbes2(parameters: Der, password: Password, data: Buffer, budget: WorkBudget) {
  const { what } = budget;
  const reader = new DerReader(parameters, what);
  const derivation = new DerReader(reader.next(TAG.sequence), what);
  const encryption = new DerReader(reader.next(TAG.sequence), what);
  reader.end();
  const method = readOid(derivation.next(TAG.oid), what);
  const cipherOid = readOid(encryption.next(TAG.oid), what);
  const cipher = CIPHERS[cipherOid];
  if (!cipher) throw unsupported(what, cipherOid);
  const derive = { [PBKDF2]: deriveByPbkdf2, [SCRYPT]: deriveByScrypt }[method];
  if (!derive) throw unsupported(what, method);
  const iv = readOctets(encryption.next(TAG.octetString), what);
  const key = await derive(derivation.next(TAG.sequence), password, cipher.keyBytes, budget);
  return decipher(cipher.name, key, iv, data);
}

async function decryptPkcs12(
  scheme: Pkcs12Scheme,
  parameters: Der,
  password: Password,
  data: Buffer,
  budget: WorkBudget,
) {
  const { what } = budget;
  const reader = new DerReader(parameters, what);
  const salt = saltOf(reader.next(TAG.octetString), what);
  const asked = readInteger(reader.next(TAG.integer), what);
  reader.end();
  // The key takes up to two rounds of SHA-1, the vector one more.
  const iterations = budget.spend(asked, PKCS12_WEIGHT * 3);
  const common = { hash: 'sha1', salt, iterations };
  const derived = await derivePkcs12(password, { ...common, purpose: PURPOSE.key, length: scheme.keyBytes });
  const iv = await derivePkcs12(password, { ...common, purpose: PURPOSE.iv, length: 8 });
  if (scheme.cipher === 'rc2') return decipherRc2(derived, iv, data);
  const key = scheme.twoKeys ? Buffer.concat([derived, derived.subarray(0, 8)]) : derived;
  return decipher(scheme.cipher, key, iv, data);
}

/**
 * Decrypts `data` as its AlgorithmIdentifier says. Undefined when the password does not fit (a wrong
 * one passes the padding once in 256 times, so the caller must still be able to parse what comes out).
 * Throws `key-encryption-unsupported`, `key-iterations`, or `der-malformed` for broken parameters.
 */
export async function decrypt(
  algorithm: Der,
  password: Password,
  data: Buffer,
  budget: WorkBudget,
): Promise<Buffer | undefined> {
  const reader = new DerReader(algorithm, budget.what);
  const oid = readOid(reader.next(TAG.oid), budget.what);
  const scheme = PKCS12_SCHEMES[oid];
  if (oid !== PBES2 && !scheme) throw unsupported(budget.what, oid);
  const parameters = reader.next(TAG.sequence);
  reader.end();
  if (scheme) return decryptPkcs12(scheme, parameters, password, data, budget);
  return decryptPbes2(parameters, password, data, budget);
}

/** The digest that an AlgorithmIdentifier names, for a MAC; throws `key-encryption-unsupported`. */
export function macDigest(algorithm: Der, what: string): string {
  const oid = readOid(new DerReader(algorithm, what).next(TAG.oid), what);
  const hash = oid === '2.16.840.1.101.3.4.2.4' ? 'sha224' : digestName(oid);
  if (hash && hash !== 'md5') return hash;
  throw unsupported(what, oid);
}

/** HMAC digests by their identifiers: PBKDF2 and PBMAC1 share them. */
export const pseudorandomDigest = (oid: string): string | undefined => PSEUDORANDOM[oid];

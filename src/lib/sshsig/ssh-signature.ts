import { createHash, verify, type KeyObject, type SigningOptions } from 'node:crypto';
import { invalid } from '../errors.ts';
import type { SshKeyType, SshPublicKey } from './public-key.ts';
import { SshReader, uint32 } from './ssh-wire.ts';

/** The result of a signature that verified, with the flags that a security key signed. */
export interface SshProof {
  readonly securityKey: {
    /** The key was touched. */
    readonly userPresent: boolean;
    /** The key verified a PIN or a fingerprint. */
    readonly userVerified: boolean;
    /** Grows with each signature, if the key counts them. */
    readonly counter: number;
  } | null;
}

const VERIFIED: SshProof = { securityKey: null };

const CODE = 'ssh-signature-malformed';
const USER_PRESENT = 0x01; // FIDO U2F raw message formats, section 4.3; FIDO2 authenticator data
const USER_VERIFIED = 0x04;

/** RFC 8332. SHA-1 (`ssh-rsa`) is left out on purpose. */
const RSA_HASHES: ReadonlyMap<string, string> = new Map([
  ['rsa-sha2-256', 'sha256'],
  ['rsa-sha2-512', 'sha512'],
]);

/** RFC 5656 section 6.2.1; the octets of r and of s. */
export const CURVES: ReadonlyMap<SshKeyType, { readonly hash: string; readonly octets: number }> = new Map([
  ['ecdsa-sha2-nistp256', { hash: 'sha256', octets: 32 }],
  ['ecdsa-sha2-nistp384', { hash: 'sha384', octets: 48 }],
  ['ecdsa-sha2-nistp521', { hash: 'sha512', octets: 66 }],
  ['sk-ecdsa-sha2-nistp256@openssh.com', { hash: 'sha256', octets: 32 }],
]);

/** A signature in parts: what `verifyRawSignature` was given, and what it read. */
interface SignatureParts {
  readonly key: SshPublicKey;
  /** Its algorithm. */
  readonly name: string;
  readonly value: Buffer;
  readonly data: Buffer;
  readonly reader: SshReader;
  readonly what: string;
}

const sha256 = (data: Buffer | string): Buffer => createHash('sha256').update(data).digest();

/** Restores the leading zeros that SSH leaves out. */
export function padded(magnitude: Buffer, octets: number, reader: SshReader): Buffer {
  if (magnitude.length > octets) throw reader.error('holds a number too large for its key');
  return Buffer.concat([Buffer.alloc(octets - magnitude.length), magnitude]);
}

/** The numbers r and s of an ECDSA signature, one after the other (IEEE P1363); `value` holds them in wire form. */
export function ecdsaNumbers(value: Buffer, octets: number, what: string): Buffer {
  const numbers = new SshReader(value, what, CODE);
  const both = [numbers.mpint(), numbers.mpint()].map((number) => padded(number, octets, numbers));
  numbers.end();
  return Buffer.concat(both);
}

type KeyInput = Pick<SigningOptions, 'dsaEncoding'> & { key: KeyObject };

/** Verifies with OpenSSL, which throws on some numbers (such as an even RSA modulus) instead of returning false. */
export function verifies(hash: string | null, data: Buffer, key: KeyInput, signature: Buffer): boolean {
  try {
    return verify(hash, data, key, signature);
  } catch {
    return false;
  }
}

function checkEd25519({ key, value, data, reader }: SignatureParts): boolean {
  if (value.length !== 64) throw reader.error('is an Ed25519 signature of the wrong length');
  return verifies(null, data, { key: key.key }, value);
}

function checkEcdsa({ key, value, data, what }: SignatureParts): boolean {
  const curve = CURVES.get(key.type);
  if (!curve) return false;
  const numbers = ecdsaNumbers(value, curve.octets, what);
  return verifies(curve.hash, data, { key: key.key, dsaEncoding: 'ieee-p1363' }, numbers);
}

/** Some signers strip leading zeros, and OpenSSH accepts that. */
function checkRsa({ key, name, value, data, reader }: SignatureParts): boolean {
  const hash = RSA_HASHES.get(name);
  if (!hash) throw reader.error('is an RSA signature with a digest other than SHA-256 or SHA-512');
  const octets = Math.ceil((key.key.asymmetricKeyDetails?.modulusLength ?? 0) / 8);
  return verifies(hash, data, { key: key.key }, padded(value, octets, reader));
}

/**
 * PROTOCOL.u2f: the key signs SHA256(application), flags, counter and SHA256(message). Signatures made by a browser
 * (webauthn-...) are refused: they wrap the message in JSON that the browser chooses.
 */
function checkSecurityKey(parts: SignatureParts): SshProof | null {
  const { key, data, reader } = parts;
  const flags = reader.byte();
  const counter = reader.uint32();
  const application = sha256(key.application ?? '');
  const signedBytes = Buffer.concat([application, Buffer.of(flags), uint32(counter), sha256(data)]);
  const check = key.type === 'sk-ssh-ed25519@openssh.com' ? checkEd25519 : checkEcdsa;
  const valid = check({ ...parts, data: signedBytes });
  const securityKey = {
    userPresent: (flags & USER_PRESENT) !== 0,
    userVerified: (flags & USER_VERIFIED) !== 0,
    counter,
  };
  return valid ? { securityKey } : null;
}

/**
 * Verifies a signature in SSH's wire form (`string algorithm, string signature`, and for security keys `byte flags,
 * uint32 counter`) over `data`. Null if it is not this key's signature over these bytes; malformed bytes and
 * algorithms that do not fit the key throw `invalid`.
 */
export function verifyRawSignature(
  key: SshPublicKey,
  signature: Buffer,
  data: Buffer,
  what: string,
): SshProof | null {
  const reader = new SshReader(signature, what, CODE);
  const name = reader.text();
  if (key.type !== 'ssh-rsa' && name !== key.type) {
    const problem = name.startsWith('webauthn-')
      ? 'was made by a web browser'
      : 'is of a different type than its key';
    throw invalid(CODE, `${what} ${problem}`);
  }
  const value = reader.string();
  const proof = check({ key, name, value, data, reader, what });
  reader.end();
  return proof;
}

function check(parts: SignatureParts): SshProof | null {
  switch (parts.key.type) {
    case 'ssh-ed25519':
      return checkEd25519(parts) ? VERIFIED : null;
    case 'ecdsa-sha2-nistp256':
    case 'ecdsa-sha2-nistp384':
    case 'ecdsa-sha2-nistp521':
      return checkEcdsa(parts) ? VERIFIED : null;
    case 'ssh-rsa':
      return checkRsa(parts) ? VERIFIED : null;
    case 'sk-ssh-ed25519@openssh.com':
    case 'sk-ecdsa-sha2-nistp256@openssh.com':
      return checkSecurityKey(parts);
  }
}

import { verify } from 'node:crypto';
import { ecdsaRawToDer } from '../asn1/ecdsa-signature.ts';
import { invalid, usage } from '../errors.ts';
import type { SshKeyType, SshPublicKey } from './public-key.ts';
import { SshReader } from './ssh-wire.ts';

/**
 * How each type of key signs in standard form, that is without SSH's encoding: Ed25519 as 64 bytes (RFC 8032), RSA as
 * PKCS#1 v1.5 over SHA-512 (RFC 8017, 8.2), ECDSA as a DER ECDSA-Sig-Value (RFC 3279, 2.2.3) over the digest that
 * belongs to the curve. Security keys are missing: they sign a structure of their own around the data.
 */
const FORMS: ReadonlyMap<SshKeyType, { readonly hash: string | null; readonly octets?: number }> = new Map([
  ['ssh-ed25519', { hash: null }],
  ['ssh-rsa', { hash: 'sha512' }],
  ['ecdsa-sha2-nistp256', { hash: 'sha256', octets: 32 }],
  ['ecdsa-sha2-nistp384', { hash: 'sha384', octets: 48 }],
  ['ecdsa-sha2-nistp521', { hash: 'sha512', octets: 66 }],
]);

/** Throws `ssh-key-type` (usage) for a security key; `what` names the key in the message. */
export function requireStandardForm(key: SshPublicKey, what: string): void {
  if (FORMS.has(key.type)) return;
  throw usage('ssh-key-type', `${what}: the security key ${key.fingerprint} cannot sign plain bytes`, {
    hint: 'use an Ed25519, ECDSA or RSA key, in a file or in an ssh-agent',
  });
}

/** Restores the leading zeros that SSH leaves out. */
function padded(magnitude: Buffer, octets: number, what: string): Buffer {
  if (magnitude.length > octets)
    throw invalid('ssh-signature-malformed', `${what} holds a number too large for its key`);
  return Buffer.concat([Buffer.alloc(octets - magnitude.length), magnitude]);
}

function ecdsaValue(wire: Buffer, octets: number, what: string): Buffer {
  const numbers = new SshReader(wire, what, 'ssh-signature-malformed');
  const parts = [numbers.mpint(), numbers.mpint()].map((number) => padded(number, octets, what));
  numbers.end();
  return ecdsaRawToDer(Buffer.concat(parts), what);
}

/**
 * The standard form of a signature in SSH's wire form, by a key that has one; `what` names the signature in messages.
 * Throws `ssh-signature-malformed`.
 */
export function standardSignature(key: SshPublicKey, wire: Buffer, what: string): Buffer {
  const reader = new SshReader(wire, what, 'ssh-signature-malformed');
  const algorithm = reader.text();
  const value = reader.string();
  reader.end();
  if (algorithm !== (key.type === 'ssh-rsa' ? 'rsa-sha2-512' : key.type))
    throw invalid(
      'ssh-signature-malformed',
      `${what} was made with ${JSON.stringify(algorithm.slice(0, 64))}`,
    );
  const octets = FORMS.get(key.type)?.octets;
  if (octets !== undefined) return ecdsaValue(value, octets, what);
  const { modulusLength } = key.key.asymmetricKeyDetails ?? {};
  return modulusLength === undefined ? value : padded(value, Math.ceil(modulusLength / 8), what);
}

/** Whether a signature in standard form over `data` is this key's. False for security keys and malformed signatures. */
export function verifyStandardSignature(key: SshPublicKey, signature: Buffer, data: Buffer): boolean {
  const form = FORMS.get(key.type);
  if (!form) return false;
  try {
    return verify(form.hash, data, key.key, signature);
  } catch {
    return false; // OpenSSL throws for some numbers, such as an even RSA modulus.
  }
}

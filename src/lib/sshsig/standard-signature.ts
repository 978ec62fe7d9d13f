import { ecdsaRawToDer } from '../asn1/ecdsa-signature.ts';
import { usage } from '../errors.ts';
import type { SshPublicKey } from './public-key.ts';
import { CURVES, ecdsaNumbers, padded, verifies } from './ssh-signature.ts';
import { SshReader } from './ssh-wire.ts';

/**
 * The digest with which a key signs in standard form, that is without SSH's encoding; null if the scheme has its own.
 * Ed25519 signs as 64 bytes (RFC 8032), RSA as PKCS#1 v1.5 over SHA-512 (RFC 8017, 8.2), ECDSA as a DER ECDSA-Sig-Value
 * (RFC 3279, 2.2.3) over the digest that belongs to the curve. Undefined for security keys: they sign a structure of
 * their own around the data.
 */
function hashOf({ type, application }: SshPublicKey): string | null | undefined {
  if (application !== null) return undefined;
  if (type === 'ssh-ed25519') return null;
  return type === 'ssh-rsa' ? 'sha512' : CURVES.get(type)?.hash;
}

/** Throws `ssh-key-type` (usage) for a security key; `what` names the key in the message. */
export function requireStandardForm(key: SshPublicKey, what: string): void {
  if (hashOf(key) !== undefined) return;
  throw usage('ssh-key-type', `${what}: the security key ${key.fingerprint} cannot sign plain bytes`, {
    hint: 'use an Ed25519, ECDSA or RSA key, in a file or in an ssh-agent',
  });
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
    throw reader.error(`was made with ${JSON.stringify(algorithm.slice(0, 64))}`);
  const curve = CURVES.get(key.type);
  if (curve) return ecdsaRawToDer(ecdsaNumbers(value, curve.octets, what), what);
  const { modulusLength } = key.key.asymmetricKeyDetails ?? {};
  return modulusLength === undefined ? value : padded(value, Math.ceil(modulusLength / 8), reader);
}

/** Whether a signature in standard form over `data` is this key's. False for security keys and malformed signatures. */
export function verifyStandardSignature(key: SshPublicKey, signature: Buffer, data: Buffer): boolean {
  const hash = hashOf(key);
  return hash !== undefined && verifies(hash, data, { key: key.key }, signature);
}

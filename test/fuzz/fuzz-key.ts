import { createPrivateKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { signingKey, type SigningKey } from '../../src/engine/keys/signing-key.ts';
import { parsePemCertificates } from '../../src/lib/x509/certificate.ts';

const signerFile = process.env['FUZZ_SIGNER'] ?? '';

/** A key that is published in this folder, so that seeds are the same in every run. RSA signs without randomness. */
export function fuzzKey(): SigningKey {
  const pem = readFileSync(signerFile, 'utf8');
  return signingKey(createPrivateKey(pem), parsePemCertificates(pem, signerFile), signerFile);
}

import assert from 'node:assert/strict';
import { signProgram } from '../../../src/engine/authenticode/sign.ts';
import type { SigningKey } from '../../../src/engine/keys/signing-key.ts';
import type { DigestName } from '../../../src/lib/asn1/oids.ts';
import type { TestIdentity } from '../../../src/sandbox/certificates.ts';
import { buildPe } from '../../fixtures/pe.ts';
import { bytesOf, openBytes, osslsigncodeVerify, SIGNATURE_OK } from '../authenticode/tools.ts';

/** Signs a program with a key, and asserts that osslsigncode accepts the signature. */
export async function signsForOsslsigncode(
  key: SigningKey,
  root: TestIdentity,
  hash: DigestName = 'sha256',
): Promise<void> {
  const { content } = await signProgram(await openBytes(buildPe()), { key, hash, timestamper: null });
  assert.match(await osslsigncodeVerify(await bytesOf(content), root), SIGNATURE_OK);
}

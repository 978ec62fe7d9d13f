import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { signProgram } from '../../../src/engine/authenticode/sign.ts';
import type { SigningKey } from '../../../src/engine/keys/signing-key.ts';
import type { DigestName } from '../../../src/lib/asn1/oids.ts';
import { toPem, type TestIdentity } from '../../../src/sandbox/certificates.ts';
import { buildPe } from '../../fixtures/pe.ts';
import {
  bytesOf,
  inFolder,
  must,
  openBytes,
  osslsigncodeVerify,
  SIGNATURE_OK,
} from '../authenticode/tools.ts';

/** Asserts that OpenSSL accepts a bare signature by the key. */
async function judgedByOpenssl(key: SigningKey, hash: DigestName): Promise<void> {
  const data = Buffer.from(`signed at ${performance.now()}`);
  const { value, certificates } = await key.sign(hash, data);
  const [leaf] = certificates;
  assert.ok(leaf);
  await inFolder(async (folder) => {
    const [file, signature, publicKey] = ['data', 'signature', 'key.pem'].map((name) => join(folder, name));
    assert.ok(file && signature && publicKey);
    await writeFile(file, data);
    await writeFile(signature, value);
    await writeFile(publicKey, leaf.publicKey.export({ type: 'spki', format: 'pem' }));
    const judged = await must(
      'openssl',
      'dgst',
      `-${hash}`,
      '-verify',
      publicKey,
      '-signature',
      signature,
      file,
    );
    assert.match(judged, /^Verified OK$/m);
  });
}

/** Asserts that sbverify, which judges programs as firmware does, accepts a program. */
const judgedBySbverify = (program: Buffer, root: TestIdentity): Promise<void> =>
  inFolder(async (folder) => {
    const [file, certificate] = [join(folder, 'program.exe'), join(folder, 'root.pem')];
    await writeFile(file, program);
    await writeFile(certificate, toPem([root.certificate]));
    assert.match(await must('sbverify', '--cert', certificate, file), /^Signature verification OK$/m);
  });

/**
 * Signs a program with a key, and asserts that osslsigncode, OpenSSL and sbverify (which knows only RSA and SHA-256)
 * accept what it signed.
 */
export async function signsForOthers(
  key: SigningKey,
  root: TestIdentity,
  hash: DigestName = 'sha256',
): Promise<void> {
  const { content } = await signProgram(await openBytes(buildPe()), { key, hash, timestamper: null });
  const program = await bytesOf(content);
  assert.match(await osslsigncodeVerify(program, root), SIGNATURE_OK);
  await judgedByOpenssl(key, hash);
  if (key.algorithm === 'rsa' && hash === 'sha256') await judgedBySbverify(program, root);
}

/**
 * osslsigncode, OpenSSL and sbverify accept what a key in a file signs, and one on a token. The tests of command keys and
 * of each service have them judge in the same way (`signsForOthers`).
 */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { describeKey, openSigningKey, type KeySettings } from '../../../src/engine/keys/open.ts';
import { KeyUnavailable } from '../../../src/engine/keys/signing-key.ts';
import { createTestPki, keyToPem, toPem, type TestPki } from '../../../src/sandbox/certificates.ts';
import { toPfx } from '../../../src/sandbox/pkcs12-writer.ts';
import { SoftHsm } from '../../world/softhsm.ts';
import { signsForOthers } from './judged.ts';

const PASSPHRASE = 'kinds of keys';
const ALGORITHMS = { rsa2048: 'rsa:2048', p256: 'EC:secp256r1', p384: 'EC:secp384r1' } as const;
type Algorithm = keyof typeof ALGORITHMS;

let folder: string;
let hsm: SoftHsm;
const pkis = new Map<Algorithm, TestPki>();
const at = (name: string): string => join(folder, name);

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'signpipe-kinds-'));
  await writeFile(at('passphrase'), PASSPHRASE, { mode: 0o600 });
  hsm = await SoftHsm.create();
  for (const [index, [key, type]] of Object.entries(ALGORITHMS).entries()) {
    const pki = await createTestPki({ key: key as Algorithm });
    pkis.set(key as Algorithm, pki);
    await writeFile(at(`${key}.pem`), toPem(pki.codeSigning.chain));
    await writeFile(at(`${key}.key`), keyToPem(pki.codeSigning.key, PASSPHRASE), { mode: 0o600 });
    await writeFile(at(`${key}.pfx`), toPfx(pki.codeSigning, PASSPHRASE, 'Test'), { mode: 0o600 });
    const onToken = { label: key, id: `0${index + 1}`, type };
    await hsm.makeKey(onToken);
    await hsm.certify(onToken, { issuer: pki.root });
  }
});
after(async () => {
  await hsm.remove();
  await rm(folder, { recursive: true, force: true });
});

const kinds: Record<string, (algorithm: Algorithm) => KeySettings> = {
  'a PEM file': (name) => ({
    certificate: at(`${name}.pem`),
    key: at(`${name}.key`),
    passphraseFile: at('passphrase'),
  }),
  'a PKCS #12 file': (name) => ({ pfx: at(`${name}.pfx`), passphraseFile: at('passphrase') }),
  'a token': (name) => ({ key: hsm.uri(`token=release;object=${name}`) }),
};

describe('other tools accept what is signed by a key in', () => {
  for (const [kind, settings] of Object.entries(kinds))
    for (const algorithm of Object.keys(ALGORITHMS) as Algorithm[])
      it(`${kind}: ${algorithm}`, async () => {
        const root = pkis.get(algorithm)?.root;
        assert.ok(root);
        const key = await openSigningKey(describeKey(settings(algorithm)), { warn: assert.fail });
        try {
          await signsForOthers(key, root, algorithm === 'p384' ? 'sha384' : 'sha256');
        } finally {
          await key.close();
        }
      });
});

describe('a key on a token', () => {
  it('says whether it is there without making a signature, once a signature has found that it is not', async () => {
    const uri = hsm.uri('token=release;object=rsa2048');
    const key = await openSigningKey(describeKey({ key: uri }), { warn: assert.fail });
    assert.ok('available' in key);
    await key.available?.();
    const putBack = await hsm.pullOut();
    await assert.rejects(key.sign('sha256', Buffer.from('data')), KeyUnavailable);
    await assert.rejects(Promise.resolve(key.available?.()), KeyUnavailable);
    await putBack();
    await key.available?.();
    await key.sign('sha256', Buffer.from('data'));
    await key.close();
  });
});

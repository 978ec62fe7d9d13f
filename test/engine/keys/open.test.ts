import { after, before, describe, it } from 'node:test';
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { describeKey, openSigningKey, type KeySettings } from '../../../src/engine/keys/open.ts';
import { createTestCertificate, keyToPem, toPem } from '../../../src/sandbox/certificates.ts';
import { toPfx } from '../../../src/sandbox/pkcs12-writer.ts';
import { OpensslFolder } from './openssl.ts';
import { PASSPHRASE, refuses } from './refusal.ts';

const DAY = 86_400_000;
let work: OpensslFolder;

before(async () => {
  work = await OpensslFolder.create();
  const identity = await createTestCertificate({ commonName: 'Publisher', purpose: 'code-signing' });
  await writeFile(work.path('chain.pem'), toPem(identity.chain));
  await writeFile(work.path('plain.key'), keyToPem(identity.key), { mode: 0o600 });
  await work.openssl('pkcs8 -topk8 -in plain.key -out locked.key', '-passout', `pass:${PASSPHRASE}`);
  await writeFile(work.path('store.pfx'), toPfx(identity, PASSPHRASE, 'Publisher'), { mode: 0o600 });
  await writeFile(work.path('passphrase'), `${PASSPHRASE}\n`, { mode: 0o600 });
});

after(() => work.remove());

const pem = (key: string): KeySettings => ({ certificate: work.path('chain.pem'), key: work.path(key) });
const pfx = (): KeySettings => ({ pfx: work.path('store.pfx') });
const passphraseFile = (): KeySettings => ({ passphraseFile: work.path('passphrase') });

const opened = (settings: KeySettings, options: Partial<Parameters<typeof openSigningKey>[1]> = {}) =>
  openSigningKey(describeKey(settings), { warn: assert.fail, ...options });

const askNobody = (): never => assert.fail('asked for a passphrase');

describe('describeKey', () => {
  it('returns the kind of key that the settings name', () => {
    const rest = { passphraseFile: undefined };
    assert.deepEqual(describeKey({ pfx: 'a', keyName: 'b', passphraseFile: 'c' }), {
      kind: 'pkcs12',
      file: 'a',
      name: 'b',
      passphraseFile: 'c',
    });
    assert.deepEqual(describeKey({ certificate: 'a', key: 'b' }), {
      kind: 'pem',
      certificate: 'a',
      key: 'b',
      ...rest,
    });
  });

  const incomplete: [string, KeySettings, RegExp][] = [
    ['no setting', {}, /^no signing key$/],
    ['a passphrase alone', { passphraseFile: 'p' }, /^no signing key$/],
    ['a certificate without its key', { certificate: 'c' }, /^no signing key$/],
    ['a key without its certificate', { key: 'k' }, /^no signing key$/],
    ['both kinds', { pfx: 'a', certificate: 'c', key: 'k' }, /^two signing keys$/],
    ['a PKCS#12 file and a certificate', { pfx: 'a', certificate: 'c' }, /^two signing keys$/],
  ];
  for (const [name, settings, message] of incomplete)
    it(`key-missing: ${name}`, async () => {
      const error = await refuses('key-missing', () => describeKey(settings));
      assert.match(error.message, message);
    });
});

describe('openSigningKey', () => {
  it('opens each kind with the passphrase from its file, without asking', async () => {
    for (const settings of [pem('plain.key'), pem('locked.key'), pfx()]) {
      const key = await opened({ ...settings, ...passphraseFile() }, { ask: askNobody });
      assert.equal(key.certificates[0]?.commonName, 'Publisher');
      await key.close();
    }
  });

  it('asks for the passphrase of an encrypted file, and names the file', async () => {
    const asked: string[] = [];
    const ask = (file: string): Promise<string> => {
      asked.push(file);
      return Promise.resolve(PASSPHRASE);
    };
    for (const settings of [pem('plain.key'), pem('locked.key'), pfx()]) await opened(settings, { ask });
    assert.deepEqual(asked, [work.path('locked.key'), work.path('store.pfx')]);
  });

  it('key-passphrase-missing: no one can be asked', async () => {
    for (const settings of [pem('locked.key'), pfx()])
      await refuses('key-passphrase-missing', () => opened(settings));
  });

  it('certificate-expired: at the time given; without a time the key opens', async () => {
    const usableAt = new Date(Date.now() + 5000 * DAY);
    await refuses('certificate-expired', () => opened(pem('plain.key'), { usableAt }));
    await opened(pem('plain.key'), { usableAt: new Date() });
    await opened(pem('plain.key'));
  });
});

import { after, before, describe, it } from 'node:test';
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { stat, writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { loadSignerConfig } from '../../../../src/app/config/signer.ts';
import { findTokenKeys } from '../../../../src/app/site/init/find-token-keys.ts';
import { createTestCertificate } from '../../../../src/sandbox/certificates.ts';
import { openUri, signs } from '../../../engine/keys/pkcs11/token-world.ts';
import { makeAuthority, makeCodeSigner } from '../../../lib/x509/certificate-maker.ts';
import { PIN, SoftHsm } from '../../../world/softhsm.ts';

const run = promisify(execFile);
const main = resolve(import.meta.dirname, '../../../../dist/main.js');

let hsm: SoftHsm;
before(async () => {
  hsm = await SoftHsm.create('my release');
  const key = { token: 'my release', label: 'code signing', id: '01', type: 'EC:secp256r1' };
  await hsm.makeKey(key);
  await hsm.certify(key, {
    issuer: await createTestCertificate({ commonName: 'Root', purpose: 'authority' }),
  });
});
after(() => hsm.remove());

const asking = (pin: string | undefined) => (): Promise<string | undefined> => Promise.resolve(pin);
const path = (): string => `module-path=${hsm.module}&pin-source=file:keys/pin`;

describe('init signer --pkcs11', () => {
  it('finds a private key with the PIN of its token, and its URI opens it', async () => {
    const { keys } = await findTokenKeys({ module: hsm.module, ask: asking(PIN) });
    assert.deepEqual(
      keys.map(({ uri }) => uri),
      [`pkcs11:token=my%20release;object=code%20signing;id=%01?${path()}`],
    );
    assert.match(keys[0]?.what ?? '', /^my release \(serial \w+\): Publisher code signing$/);
    const key = await openUri((keys[0]?.uri ?? '').replace('keys/pin', hsm.at('pin')));
    await signs(key);
    await key.close();
  });

  it('finds it by its certificate without the PIN, in all modules that are installed', async () => {
    const { keys } = await findTokenKeys({ ask: asking(undefined) });
    assert.deepEqual(
      keys.map(({ uri }) => uri),
      [`pkcs11:token=my%20release;id=%01?${path()}`],
    );
  });

  it('writes the URI into signer.yaml, and asks for the PIN in a file', async () => {
    const site = hsm.at('site');
    const args = [
      'init',
      'signer',
      site,
      '--pkcs11',
      hsm.module,
      '--name',
      'Lab',
      '--email',
      'lab@example.org',
    ];
    const { stdout } = await run(process.execPath, [main, ...args]);
    assert.match(
      stdout,
      /the only one that was found \(my release .*\):\n +pkcs11:token=my%20release;id=%01\?/,
    );
    assert.match(stdout, /Write the PIN of the token into keys\/pin/);
    assert.equal((await stat(`${site}/keys/pin`)).mode & 0o777, 0o600);
    const { channels } = await loadSignerConfig(`${site}/signer.yaml`);
    const signing = channels.get('default')?.signing;
    assert.deepEqual([signing?.pfx, signing?.passphraseFile], [undefined, undefined]);
    await writeFile(`${site}/keys/pin`, `${PIN}\n`);
    const key = await openUri(signing?.key ?? '');
    await signs(key);
    await key.close();
  });

  it('says that a PIN was wrong, and still finds the key by its certificate', async () => {
    const other = await SoftHsm.create('mistyped');
    after(() => other.remove());
    const key = { token: 'mistyped', label: 'code signing', id: '01', type: 'EC:secp256r1' };
    await other.makeKey(key);
    await other.certify(key, {
      issuer: await createTestCertificate({ commonName: 'Root', purpose: 'authority' }),
    });
    const { keys, problems } = await findTokenKeys({ module: other.module, ask: asking('0000') });
    assert.equal(keys.filter(({ uri }) => uri.includes('token=mistyped')).length, 1);
    assert.match(problems.join('|'), /token mistyped \(serial \w+\): the PIN is wrong/);
  });

  it('says what it looked into if it finds no key', async () => {
    const other = await SoftHsm.create('without certificate');
    after(() => other.remove());
    await other.makeKey({
      token: 'without certificate',
      label: 'code signing',
      id: '01',
      type: 'EC:secp256r1',
    });
    const without = await findTokenKeys({ module: other.module, ask: asking(undefined) });
    assert.deepEqual(without.keys, []);
    assert.match(
      without.problems.join('|'),
      /without certificate \(serial \w+\): no key was found by its certificate; with the PIN the token may show more/,
    );
    const empty = await SoftHsm.create('empty');
    after(() => empty.remove());
    const { problems } = await findTokenKeys({ module: empty.module, ask: asking(PIN) });
    assert.match(
      problems.join('|'),
      /empty \(serial \w+\): it has no private key that signs with RSA or ECDSA/,
    );
  });

  it('command-line: the folder was taken for the module; the message says how to write it', async () => {
    const refused = run(process.execPath, [main, 'init', 'signer', '--pkcs11', hsm.at('elsewhere')]);
    await assert.rejects(refused, /\[command-line\]\n.*signpipe init signer DIR --pkcs11/);
  });

  it('pkcs11-module: a folder is no module', async () => {
    const refused = run(process.execPath, [main, 'init', 'signer', hsm.at('new'), '--pkcs11', hsm.folder]);
    await assert.rejects(refused, /: a folder, no PKCS#11 module \[pkcs11-module\]/);
  });

  it('init-pkcs11: not for a builder', async () => {
    const refused = run(process.execPath, [
      main,
      'init',
      'builder',
      hsm.at('builder'),
      '--pkcs11',
      hsm.module,
    ]);
    await assert.rejects(refused, /\[init-pkcs11\]/);
  });
});

describe('a certificate on a token that Windows will not like', () => {
  it('is named with what its owner should know', async () => {
    const other = await SoftHsm.create('other');
    after(() => other.remove());
    const key = { token: 'other', label: 'code signing', id: '02', type: 'EC:secp256r1' };
    await other.makeKey(key);
    const publicKey = other.publicKey('other', '02');
    const { certificate } = makeCodeSigner({
      name: 'Publisher',
      by: makeAuthority({ name: 'Authority' }),
      key: { publicKey, privateKey: publicKey },
    });
    await other.writeCertificate(key, certificate);
    const { keys } = await findTokenKeys({ module: other.module, ask: asking(PIN) });
    const found = keys.find(({ uri }) => uri.includes('token=other'));
    assert.deepEqual(
      found?.findings.map(({ code }) => code),
      ['certificate-ec', 'certificate-not-public'],
    );
  });
});

describe('a label that a URI cannot hold', () => {
  it('is left out: the URI has what else names the key, and opens it', async () => {
    const odd = await SoftHsm.create('odd');
    after(() => odd.remove());
    const issuer = await createTestCertificate({ commonName: 'Root', purpose: 'authority' });
    const labels = ['\u001b[31mred\n', 'x'.repeat(300), 'Schl\u00fcssel'];
    for (const [n, label] of labels.entries()) {
      const key = { token: 'odd', label, id: `4${n}`, type: 'EC:secp256r1' };
      await odd.makeKey(key);
      await odd.writeCertificate({ ...key, label: 'any' }, await odd.certify(key, { issuer, write: false }));
    }
    const notText = ['--keypairgen', '--key-type', 'EC:secp256r1', '--id', '4f', '--label'];
    await run('sh', ['-c', 'exec "$@" "$(printf "a\\377b")"', 'sh', ...odd.toolCommand('odd', ...notText)]);
    const { keys } = await findTokenKeys({ module: odd.module, ask: asking(PIN) });
    const paths = keys.map(({ uri }) => uri.slice(0, uri.indexOf('?')));
    assert.deepEqual(paths.sort(), [
      'pkcs11:token=odd;id=%40',
      'pkcs11:token=odd;id=%41',
      'pkcs11:token=odd;id=%4f',
      'pkcs11:token=odd;object=Schl%C3%BCssel;id=%42',
    ]);
    for (const { uri } of keys.filter((each) => !each.uri.includes('%4f'))) {
      const key = await openUri(uri.replace('keys/pin', odd.at('pin')));
      await signs(key);
      await key.available?.();
      await key.close();
    }
  });
});

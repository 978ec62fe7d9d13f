import { after, afterEach, before, describe, it } from 'node:test';
import assert from 'node:assert/strict';
import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { signFile } from '../../../../src/engine/artifact/sign-file.ts';
import { createTestCertificate, toPem, type TestIdentity } from '../../../../src/sandbox/certificates.ts';
import { DEFAULT_LIMITS } from '../../../../src/lib/zip/limits.ts';
import { findModule } from '../../../../src/engine/keys/pkcs11/module-path.ts';
import { program } from '../../../fixtures/programs.ts';
import { PIN, SoftHsm } from '../../../world/softhsm.ts';
import { tool } from '../../authenticode/tools.ts';
import { refuses } from '../refusal.ts';
import { moduleProcesses, openUri, signs, withKey } from './token-world.ts';

const KEYS = [
  { label: 'rsa', id: '01', type: 'rsa:2048' },
  { label: 'p256', id: '02', type: 'EC:secp256r1' },
  { label: 'p384', id: '03', type: 'EC:secp384r1' },
  { label: 'p521', id: '04', type: 'EC:secp521r1' },
] as const;

let hsm: SoftHsm;
let root: TestIdentity;
before(async () => {
  hsm = await SoftHsm.create();
  root = await createTestCertificate({ commonName: 'Root', purpose: 'authority' });
  await writeFile(hsm.at('root.pem'), toPem([root.certificate]));
  for (const key of KEYS) {
    await hsm.makeKey(key);
    await hsm.certify(key, { issuer: root });
  }
});
after(() => hsm.remove());

describe('a key on a token', () => {
  for (const { label } of KEYS)
    it(`signs with ${label} and every digest, and a program that other verifiers accept`, () =>
      withKey(hsm.uri(`token=release;object=${label}`), async (key) => {
        assert.equal(key.certificates[0]?.commonName, `Publisher ${label}`);
        assert.equal(key.algorithm, label === 'rsa' ? 'rsa' : 'ecdsa');
        for (const hash of ['sha256', 'sha384', 'sha512'] as const) await signs(key, hash);
        const [input, output] = [hsm.at(`${label}.exe`), hsm.at(`${label}.signed.exe`)];
        await copyFile((await program('fastlist-x64.exe')).path, input);
        await signFile(input, output, {
          key,
          hash: 'sha256',
          timestamper: null,
          alreadySigned: 'reject',
          isOurs: () => true,
          limits: DEFAULT_LIMITS,
          scratch: tmpdir(),
        });
        const { text } = await tool('osslsigncode', 'verify', '-CAfile', hsm.at('root.pem'), '-in', output);
        assert.match(text, /^Signature verification: ok$/m);
        if (label !== 'rsa') return; // sbverify knows RSA only.
        const judged = await tool('sbverify', '--cert', hsm.at('root.pem'), output);
        assert.match(judged.text, /^Signature verification OK$/m);
      }));

  it('is found by its id, through a module that is found by its name', async () => {
    const module = await findModule('softhsm2');
    assert.equal(module, hsm.module);
    await withKey(
      `pkcs11:token=release;id=%01?module-name=softhsm2&pin-source=file:${hsm.at('pin')}`,
      (key) => signs(key),
    );
  });

  it("signs through p11-kit's proxy module", async () => {
    const module = await findModule('p11-kit-proxy');
    assert.ok(module !== undefined);
    await withKey(hsm.uri('token=release;object=p256', { module }), (key) => signs(key));
  });

  it('signs if it wants the PIN for each signature', async () => {
    const always = { label: 'always', id: '05', type: 'EC:secp256r1' };
    await hsm.makeKey({ ...always, more: ['--always-auth'] });
    await hsm.certify(always, { issuer: root });
    await withKey(hsm.uri('token=release;object=always'), async (key) => {
      for (let i = 0; i < 3; i += 1) await signs(key);
    });
  });

  it('signs in several sessions at a time', () =>
    withKey(hsm.uri('token=release;object=rsa', { more: '&x-sessions=4' }), async (key) => {
      assert.equal(key.concurrency, 4);
      await Promise.all(Array.from({ length: 40 }, () => signs(key)));
    }));

  it('closes its process', async () => {
    await withKey(hsm.uri('token=release;object=rsa'), (key) => signs(key));
    assert.deepEqual(moduleProcesses(), []);
  });

  it('key-closed: after it was closed', async () => {
    const key = await openUri(hsm.uri('token=release;object=rsa'));
    await key.close();
    await key.close();
    await assert.rejects(signs(key), { code: 'key-closed' });
  });
});

describe('a token that signs only what it has hashed itself', () => {
  const configured = process.env['SOFTHSM2_CONF'];
  /** SoftHSM with some of its mechanisms only; the key gets it from this process's environment. */
  const offer = async (mechanisms: string): Promise<void> => {
    const text = await readFile(hsm.at('softhsm2.conf'), 'utf8');
    await writeFile(hsm.at('limited.conf'), `${text}slots.mechanisms = ${mechanisms}\n`);
    process.env['SOFTHSM2_CONF'] = hsm.at('limited.conf');
  };
  afterEach(() => {
    process.env['SOFTHSM2_CONF'] = configured ?? hsm.at('softhsm2.conf');
  });

  it('gets the data instead of the digest', async () => {
    await offer('CKM_SHA256_RSA_PKCS,CKM_SHA384_RSA_PKCS,CKM_SHA512_RSA_PKCS');
    await withKey(hsm.uri('token=release;object=rsa'), async (key) => {
      assert.deepEqual(key.digests, ['sha256', 'sha384', 'sha512']);
      for (const hash of ['sha256', 'sha384', 'sha512'] as const) await signs(key, hash);
    });
  });

  it('key-digest: a digest that it does not hash', async () => {
    await offer('CKM_SHA256_RSA_PKCS,CKM_SHA384_RSA_PKCS');
    await withKey(hsm.uri('token=release;object=rsa'), async (key) => {
      assert.deepEqual(key.digests, ['sha256', 'sha384']);
      await signs(key, 'sha384');
      await assert.rejects(signs(key, 'sha512'), { code: 'key-digest' });
    });
  });

  it('token-mechanism: it has none at all', async () => {
    await offer('CKM_SHA256,CKM_ECDSA');
    const error = await refuses('token-mechanism', () => openUri(hsm.uri('token=release;object=rsa')));
    assert.match(error.message, /neither CKM_RSA_PKCS nor CKM_SHA256_RSA_PKCS/);
  });
});

describe('the certificate of a key on a token', () => {
  const bare = { label: 'bare', id: '06', type: 'EC:secp256r1' };
  before(() => hsm.makeKey(bare));

  it('comes with its intermediates from the token', async () => {
    const issuer = await createTestCertificate({ commonName: 'Middle', purpose: 'authority', issuer: root });
    const key = { label: 'chained', id: '07', type: 'EC:secp256r1' };
    await hsm.makeKey(key);
    await hsm.certify(key, { issuer });
    await hsm.writeCertificate({ label: 'middle', id: '99' }, issuer.certificate);
    await withKey(hsm.uri('token=release;object=chained'), async ({ certificates }) => {
      assert.deepEqual(
        certificates.map(({ commonName }) => commonName),
        ['Publisher chained', 'Middle'],
      );
      await Promise.resolve();
    });
  });

  it('comes from a file if one is given', async () => {
    const certificate = await hsm.certify(bare, { issuer: root, write: false });
    await writeFile(hsm.at('bare.pem'), toPem([root.certificate, certificate]));
    const key = await openUri(hsm.uri('token=release;object=bare'), hsm.at('bare.pem'));
    assert.deepEqual(
      key.certificates.map(({ commonName }) => commonName),
      ['Publisher bare'],
    );
    await signs(key);
    await key.close();
  });

  it('comes from a file also if the token does not show the public key', async () => {
    const hidden = { label: 'hidden', id: '08', type: 'EC:secp256r1' };
    await hsm.makeKey(hidden);
    const certificate = await hsm.certify(hidden, { issuer: root, write: false });
    await hsm.tool('release', '--delete-object', '--type', 'pubkey', '--id', '08');
    const other = await createTestCertificate({ commonName: 'Other', purpose: 'code-signing', issuer: root });
    await writeFile(hsm.at('hidden.pem'), toPem([other.certificate, certificate]));
    const key = await openUri(hsm.uri('token=release;object=hidden'), hsm.at('hidden.pem'));
    assert.equal(key.certificates[0]?.commonName, 'Publisher hidden');
    await key.close();
    await writeFile(hsm.at('hidden.pem'), toPem([other.certificate]));
    await refuses('key-does-not-match', () =>
      openUri(hsm.uri('token=release;object=hidden'), hsm.at('hidden.pem')),
    );
  });

  it('key-does-not-match: the file has none for this key', async () => {
    await refuses('key-does-not-match', () =>
      openUri(hsm.uri('token=release;object=bare'), hsm.at('root.pem')),
    );
  });

  it('token-certificate-missing: neither the token nor a file has one', async () => {
    const error = await refuses('token-certificate-missing', () =>
      openUri(hsm.uri('token=release;object=bare')),
    );
    assert.match(error.message, /object=bare;id=%06/);
  });
});

describe('a key that cannot be selected', () => {
  it('token-missing: no such token; the message names those that are there', async () => {
    await assert.rejects(openUri(hsm.uri('token=other')), (error: Error & { kind: string; hint: string }) => {
      assert.equal(error.kind, 'unavailable');
      assert.match(error.hint, /the tokens that are there are release \(serial [\da-f]{16}\)/);
      return true;
    });
  });

  it('token-ambiguous: two tokens of one label, which the serial number tells apart', async () => {
    await hsm.addToken('twin');
    await hsm.addToken('twin');
    const error = await refuses('token-ambiguous', () => openUri(hsm.uri('token=twin')));
    const uri = /such as (\S+)$/.exec(error.hint ?? '')?.[1];
    assert.match(uri ?? '', /^token=twin;serial=[\da-f]{16}$/);
    await refuses('token-key-missing', () => openUri(hsm.uri(uri ?? '')));
  });

  it('token-key-missing: no such key; the message names those of the token', async () => {
    const error = await refuses('token-key-missing', () => openUri(hsm.uri('token=release;object=nothing')));
    assert.match(error.hint ?? '', /object=rsa;id=%01/);
  });

  it('token-key-ambiguous: several keys fit', async () => {
    const error = await refuses('token-key-ambiguous', () => openUri(hsm.uri('token=release')));
    assert.match(error.message, /object=rsa;id=%01/);
  });

  it('pkcs11-module: no such file, or a file that is no module', async () => {
    for (const module of ['/nowhere.so', hsm.at('root.pem'), hsm.folder, '/dev/null'])
      await refuses('pkcs11-module', () => openUri(hsm.uri('token=release', { module })));
  });

  it('pkcs11-library: the module is another one than the URI says', async () => {
    const error = await refuses('pkcs11-library', () =>
      openUri(hsm.uri('token=release;object=rsa;library-version=9.9')),
    );
    assert.match(error.message, /library-version is \d+\.\d+/);
    await withKey(hsm.uri('token=release;object=rsa;library-manufacturer=SoftHSM'), (key) => signs(key));
  });

  it('key-too-weak: RSA of 1024 bits', async () => {
    const weak = { label: 'weak', id: '09', type: 'rsa:1024' };
    await hsm.makeKey(weak);
    await hsm.certify(weak, { issuer: root });
    await refuses('key-too-weak', () => openUri(hsm.uri('token=release;object=weak')));
  });
});

describe('a key without CKA_ID and label', () => {
  it('signs, and is found again', async () => {
    await hsm.addToken('plain');
    await hsm.makeKey({ token: 'plain', label: '', id: '' });
    const missing = await refuses('token-certificate-missing', () => openUri(hsm.uri('token=plain')));
    assert.match(missing.message, /for the private key type=private; /);
    const certificate = await hsm.certify(
      { token: 'plain', label: '', id: '' },
      { issuer: root, write: false },
    );
    await writeFile(hsm.at('plain.pem'), toPem([certificate]));
    const key = await openUri(hsm.uri('token=plain;type=private'), hsm.at('plain.pem'));
    await signs(key);
    await key.available?.();
    await key.close();
  });
});

describe('the process of a module', () => {
  it('has no PIN and no secret of ours in its arguments and environment, and leaves no core dump', () => {
    process.env['SIGNPIPE_PASSPHRASE'] = 'marked-passphrase';
    return withKey(hsm.uri('token=release;object=rsa'), async (key) => {
      await signs(key);
      const [child, another] = moduleProcesses();
      assert.ok(child && !another);
      assert.doesNotMatch(child.commandLine + child.environment, new RegExp(`${PIN}|marked-passphrase`));
      assert.match(child.limits, /^Max core file size +0 +0 /m);
    });
  });
});

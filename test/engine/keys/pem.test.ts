import { after, before, describe, it } from 'node:test';
import assert from 'node:assert/strict';
import { verify } from 'node:crypto';
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { integer, octets, oid, seq } from '../../../src/lib/asn1/encode-der.ts';
import { openPemKey } from '../../../src/engine/keys/pem.ts';
import {
  createTestCertificate,
  keyToPem,
  toPem,
  type TestIdentity,
} from '../../../src/sandbox/certificates.ts';
import type { Certificate } from '../../../src/lib/x509/certificate.ts';
import { OpensslFolder } from './openssl.ts';
import { PASSPHRASE, refuses } from './refusal.ts';

let work: OpensslFolder;
let rsa: TestIdentity;
let ec: TestIdentity;

before(async () => {
  work = await OpensslFolder.create();
  const root = await createTestCertificate({ commonName: 'Root', purpose: 'authority' });
  const issuer = await createTestCertificate({
    commonName: 'Intermediate',
    purpose: 'authority',
    issuer: root,
  });
  const common = { purpose: 'code-signing', issuer } as const;
  rsa = await createTestCertificate({ ...common, commonName: 'RSA publisher', key: 'rsa2048' });
  ec = await createTestCertificate({ ...common, commonName: 'EC publisher', key: 'p384' });
  for (const [name, { key, chain }] of Object.entries({ rsa, ec })) {
    await writeFile(work.path(`${name}.key`), keyToPem(key));
    await writeFile(work.path(`${name}.pem`), toPem(chain.toReversed()));
  }
});

after(() => work.remove());

const load = (name: string, key: string, passphrase?: string) =>
  openPemKey({ certificate: work.path(`${name}.pem`), key: work.path(key), passphrase });

/** Opens the key; checks that it signs, and that the chain in the file, root first, became leaf first without the root. */
async function opens(name: 'rsa' | 'ec', file: string, passphrase?: string): Promise<void> {
  const key = await load(name, file, passphrase);
  const { certificate } = name === 'rsa' ? rsa : ec;
  assert.deepEqual(
    key.certificates.map((each) => each.commonName),
    [certificate.commonName, 'Intermediate'],
  );
  const data = Buffer.from('what is signed');
  const { value } = await key.sign('sha384', data);
  assert.ok(verify('sha384', data, certificate.publicKey, value));
}

const secret = ['-passout', `pass:${PASSPHRASE}`];

describe('openPemKey opens keys that openssl writes', () => {
  it('PKCS#8', async () => {
    await opens('rsa', 'rsa.key');
    await opens('ec', 'ec.key');
  });

  it('PKCS#1', async () => {
    await work.openssl('rsa -traditional -in rsa.key -out pkcs1.key');
    assert.match(await readFile(work.path('pkcs1.key'), 'latin1'), /BEGIN RSA PRIVATE KEY/);
    await opens('rsa', 'pkcs1.key');
  });

  it('SEC 1, after its EC PARAMETERS', async () => {
    await work.openssl('ec -in ec.key -out sec1.key');
    const parameters = await work.openssl('ecparam -name secp384r1');
    await writeFile(work.path('sec1p.key'), parameters + (await readFile(work.path('sec1.key'), 'latin1')));
    assert.match(await readFile(work.path('sec1p.key'), 'latin1'), /EC PARAMETERS[^]*BEGIN EC PRIVATE KEY/);
    await opens('ec', 'sec1p.key');
  });

  const pkcs8 = [
    '-v2 aes-256-cbc',
    '-v2 aes-128-cbc -v2prf hmacWithSHA512',
    '-v2 des3',
    '-scrypt',
    '-v1 PBE-SHA1-3DES',
  ];
  for (const way of pkcs8)
    it(`encrypted PKCS#8: ${way}`, async () => {
      await work.openssl(`pkcs8 -topk8 ${way} -in ec.key -out pkcs8.key`, ...secret);
      assert.match(await readFile(work.path('pkcs8.key'), 'latin1'), /BEGIN ENCRYPTED PRIVATE KEY/);
      await opens('ec', 'pkcs8.key', PASSPHRASE);
    });

  for (const cipher of ['aes256', 'des3'])
    it(`DEK-Info: ${cipher}`, async () => {
      await work.openssl(`ec -in ec.key -${cipher} -out dek.key`, ...secret);
      await work.openssl(`rsa -traditional -in rsa.key -${cipher} -out dek-rsa.key`, ...secret);
      assert.match(await readFile(work.path('dek-rsa.key'), 'latin1'), /DEK-Info/);
      await opens('ec', 'dek.key', PASSPHRASE);
      await opens('rsa', 'dek-rsa.key', PASSPHRASE);
    });

  for (const [what, change] of [
    ['lines that end as on Windows', (text: string) => text.replaceAll('\n', '\r\n')],
    ['lines that end in carriage returns alone', (text: string) => text.replaceAll('\n', '\r')],
    ['no line feed at the end', (text: string) => text.trimEnd()],
    ['blanks at the end', (text: string) => `${text} \r\n\r\n`],
    ['a byte order mark', (text: string) => `\ufeff${text}`],
    ['UTF-16, as PowerShell writes it', (text: string) => Buffer.from(`\ufeff${text}`, 'utf16le')],
  ] as const)
    it(`key and certificates with ${what}, encrypted and not`, async () => {
      await work.openssl('rsa -traditional -in rsa.key -aes256 -out dek-changed.key', ...secret);
      await work.openssl('pkcs8 -topk8 -in rsa.key -out p8-changed.key', ...secret);
      await writeFile(work.path('changed.pem'), change(toPem(rsa.chain)));
      for (const name of ['rsa.key', 'dek-changed.key', 'p8-changed.key']) {
        await writeFile(work.path('changed.key'), change(await readFile(work.path(name), 'latin1')));
        const key = await load('changed', 'changed.key', PASSPHRASE);
        assert.equal(key.certificates.length, 2, name);
      }
    });

  it('warns about a private key that others can read, and about nothing else', async () => {
    const warnings: string[] = [];
    const paths = { certificate: work.path('ec.pem'), key: work.path('ec.key') };
    for (const mode of [0o600, 0o644, 0o640, 0o400]) {
      await chmod(paths.key, mode);
      await openPemKey({ ...paths, warn: (text) => warnings.push(text) });
    }
    await chmod(paths.key, 0o600);
    assert.deepEqual(
      warnings,
      ['644', '640'].map(
        (mode) => `${paths.key}: others on this machine may read the private key (mode ${mode})`,
      ),
    );
  });

  it('names the issuer if its certificate is missing', async () => {
    const missing = async (...chain: Certificate[]): Promise<string | undefined> => {
      await writeFile(work.path('chain.pem'), toPem(chain));
      return (await load('chain', 'ec.key')).missingIssuer;
    };
    const [leaf, intermediate, root] = ec.chain;
    assert.ok(leaf && intermediate && root);
    assert.equal(await missing(leaf), intermediate.subject);
    assert.equal(await missing(leaf, root), intermediate.subject);
    assert.equal(await missing(leaf, intermediate), undefined);
    assert.equal(await missing(root, intermediate, leaf), undefined);
  });

  it('key and certificates in one file, with text between them', async () => {
    const text = `Bag Attributes\n${keyToPem(ec.key)}subject=/CN=x\n${toPem(ec.chain)}`;
    await writeFile(work.path('one.pem'), text);
    const key = await load('one', 'one.pem');
    assert.equal(key.certificates.length, 2);
  });

  it('a certificate in DER', async () => {
    await writeFile(work.path('der.pem'), ec.certificate.raw);
    assert.equal((await load('der', 'ec.key')).certificates.length, 1);
  });

  for (const form of ['DER', 'PEM'])
    it(`PKCS #7 as authorities issue it, in ${form}`, async () => {
      await work.openssl(`crl2pkcs7 -nocrl -certfile ec.pem -outform ${form} -out p7.pem`);
      const key = await load('p7', 'ec.key');
      assert.deepEqual(
        key.certificates.map((each) => each.commonName),
        ['EC publisher', 'Intermediate'],
      );
    });

  it('a passphrase for a key that needs none', () => opens('ec', 'ec.key', PASSPHRASE));

  it('asks for a passphrase only if the key is encrypted and none was given', async () => {
    await work.openssl('pkcs8 -topk8 -in ec.key -out asked.key', ...secret);
    const [certificate, key] = [work.path('ec.pem'), work.path('asked.key')];
    const ask = (): Promise<string> => Promise.resolve(PASSPHRASE);
    assert.equal((await openPemKey({ certificate, key, ask })).algorithm, 'ecdsa');
    const askNobody = (): never => assert.fail('asked');
    await openPemKey({ certificate, key, passphrase: PASSPHRASE, ask: askNobody });
    await openPemKey({ certificate, key: work.path('ec.key'), ask: askNobody });
  });
});

/** The text without its second line. */
const cut = (text: string): string => text.replace(/\n.*\n/, '\n');

describe('openPemKey refuses', () => {
  it('key-passphrase-missing', async () => {
    await work.openssl('pkcs8 -topk8 -in ec.key -out enc.key', ...secret);
    await work.openssl('ec -aes256 -in ec.key -out dek2.key', ...secret);
    for (const file of ['enc.key', 'dek2.key']) {
      await refuses('key-passphrase-missing', () => load('ec', file));
      await refuses('key-passphrase-missing', () => load('ec', file, ''));
    }
  });

  it('key-passphrase-wrong', async () => {
    for (const file of ['enc.key', 'dek2.key'])
      await refuses('key-passphrase-wrong', () => load('ec', file, 'wrong one 0815'));
  });

  it('key-encryption-unsupported: RC2, which OpenSSL 3 has only in its legacy provider', async () => {
    const legacy = 'pkcs8 -topk8 -v1 PBE-SHA1-RC2-40 -provider legacy -provider default';
    await work.openssl(`${legacy} -in ec.key -out rc2.key`, ...secret);
    await refuses('key-encryption-unsupported', () => load('ec', 'rc2.key', PASSPHRASE));
  });
  it('key-iterations: a key that would keep the signer busy for hours', async () => {
    const derivation = seq(
      oid('1.2.840.113549.1.5.12'),
      seq(octets(Buffer.alloc(8)), integer(2_000_000_000)),
    );
    const encryption = seq(oid('2.16.840.1.101.3.4.1.42'), octets(Buffer.alloc(16)));
    const algorithm = seq(oid('1.2.840.113549.1.5.13'), seq(derivation, encryption));
    const text = seq(algorithm, octets(Buffer.alloc(64))).toString('base64');
    const pem = `-----BEGIN ENCRYPTED PRIVATE KEY-----\n${text}\n-----END ENCRYPTED PRIVATE KEY-----\n`;
    await writeFile(work.path('slow.key'), pem);
    await refuses('key-iterations', () => load('ec', 'slow.key', PASSPHRASE));
  });
  it('pem-malformed: a truncated encrypted key', async () => {
    await writeFile(work.path('cut-enc.key'), cut(await readFile(work.path('enc.key'), 'latin1')));
    await refuses('pem-malformed', () => load('ec', 'cut-enc.key', PASSPHRASE));
  });

  it('pem-no-certificate', async () => {
    const key = work.path('rsa.key');
    await refuses('pem-no-certificate', () => openPemKey({ certificate: key, key }));
  });
  it('pem-no-key', async () => {
    await refuses('pem-no-key', () => load('rsa', 'rsa.pem'));
  });
  it('pem-no-key, pem-no-certificate: names the format of the file', async () => {
    await work.openssl('pkcs12 -export -inkey ec.key -in ec.pem -out ec.p12', ...secret);
    await work.openssl('pkey -in ec.key -outform DER -out der.key');
    await writeFile(work.path('pvk.key'), Buffer.from('1ef1b5b000000000', 'hex'));
    for (const [file, what] of [
      ['ec.p12', /PKCS#12.*give it as signing\.pfx$/s],
      ['der.key', /private key in DER.*openssl pkey/s],
      ['pvk.key', /PVK.*openssl rsa -inform PVK/s],
    ] as const) {
      const { message, hint } = await refuses('pem-no-key', () => load('ec', file));
      assert.match(`${message}\n${hint}`, what);
    }
    const certificate = work.path('ec.p12');
    const { message } = await refuses('pem-no-certificate', () =>
      openPemKey({ certificate, key: work.path('ec.key') }),
    );
    assert.match(message, /PKCS#12/);
  });

  it('pem-several-keys', async () => {
    await writeFile(work.path('two.key'), keyToPem(ec.key) + keyToPem(rsa.key));
    await refuses('pem-several-keys', () => load('ec', 'two.key'));
  });
  it('pem-malformed: a truncated key or certificate', async () => {
    await writeFile(work.path('cut.key'), cut(keyToPem(rsa.key)));
    await writeFile(work.path('cut.pem'), cut(toPem([rsa.certificate])));
    await refuses('pem-malformed', () => load('rsa', 'cut.key'));
    await refuses('pem-malformed', () => load('cut', 'rsa.key'));
  });
  it('pem-too-large', async () => {
    await writeFile(work.path('large.key'), Buffer.alloc(2 * 1024 * 1024, 0x20));
    await refuses('pem-too-large', () => load('rsa', 'large.key'));
  });
  it('key-unsupported: an OpenSSH key', async () => {
    const text = '-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n';
    await writeFile(work.path('ssh.key'), text);
    await refuses('key-unsupported', () => load('rsa', 'ssh.key'));
  });
  it('key-does-not-match', async () => {
    await refuses('key-does-not-match', () => load('rsa', 'ec.key'));
  });
  it('file-not-found', async () => {
    await refuses('file-not-found', () => load('rsa', 'nowhere.key'));
  });
});

import { after, before, describe, it } from 'node:test';
import assert from 'node:assert/strict';
import { createHash, createHmac, pbkdf2Sync, verify } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import forge from 'node-forge';
import { bmp, explicit, integer, octets, oid, seq, set, tlv } from '../../../src/lib/asn1/encode-der.ts';
import { children, parseDer } from '../../../src/lib/asn1/der.ts';
import { SignpipeError } from '../../../src/lib/errors.ts';
import { openPfxKey } from '../../../src/engine/keys/pfx.ts';
import { readPkcs12 } from '../../../src/engine/keys/pkcs12.ts';
import {
  createTestCertificate,
  keyToPem,
  toPem,
  type TestIdentity,
} from '../../../src/sandbox/certificates.ts';
import { toPfx } from '../../../src/sandbox/pkcs12-writer.ts';
import { Certificate } from '../../../src/lib/x509/certificate.ts';
import { OpensslFolder } from './openssl.ts';
import { PASSPHRASE, refuses } from './refusal.ts';

let work: OpensslFolder;
let rsa: TestIdentity;
let ec: TestIdentity;
let intermediate: TestIdentity;
let root: TestIdentity;

before(async () => {
  work = await OpensslFolder.create();
  root = await createTestCertificate({ commonName: 'Root', purpose: 'authority' });
  intermediate = await createTestCertificate({
    commonName: 'Intermediate',
    purpose: 'authority',
    issuer: root,
  });
  const common = { purpose: 'code-signing', issuer: intermediate } as const;
  rsa = await createTestCertificate({ ...common, commonName: 'RSA publisher', key: 'rsa2048' });
  ec = await createTestCertificate({ ...common, commonName: 'EC publisher', key: 'p256' });
  for (const [name, { key, certificate, chain }] of Object.entries({ rsa, ec })) {
    await writeFile(work.path(`${name}.key`), keyToPem(key));
    await writeFile(work.path(`${name}.pem`), toPem([certificate]));
    await writeFile(work.path(`${name}-above.pem`), toPem(chain.slice(1).reverse()));
  }
});

after(() => work.remove());

/** `openssl pkcs12 -export` of one identity with its whole chain. */
async function exported(name: 'rsa' | 'ec', line = '', passphrase = PASSPHRASE): Promise<string> {
  const file = work.path(
    `${name}-${createHash('sha1')
      .update(line + passphrase)
      .digest('hex')}.pfx`,
  );
  const from = `pkcs12 -export -inkey ${name}.key -in ${name}.pem -certfile ${name}-above.pem`;
  await work.openssl(`${from}${line}`, '-passout', `pass:${passphrase}`, '-out', file);
  return file;
}

/** Opens the file; checks that the key signs, and that the chain is leaf, intermediate. */
async function opens(path: string, expected: TestIdentity, passphrase: string | undefined = PASSPHRASE) {
  const key = await openPfxKey({ path, passphrase });
  assert.deepEqual(
    key.certificates.map((certificate) => certificate.commonName),
    [expected.certificate.commonName, 'Intermediate'],
  );
  const data = Buffer.from('what is signed');
  const { value } = await key.sign('sha256', data);
  assert.ok(verify('sha256', data, expected.certificate.publicKey, value));
  await key.close();
  await assert.rejects(key.sign('sha256', data), { code: 'key-closed' });
}

const bag = (type: number, value: Buffer, ...attributes: Buffer[]): Buffer =>
  seq(oid(`1.2.840.113549.1.12.10.1.${type}`), explicit(0, value), ...attributes);

describe('openPfxKey opens what openssl pkcs12 writes', () => {
  it('by default: PBES2 with AES-256, MAC with SHA-256', async () => opens(await exported('rsa'), rsa));
  it('with an EC key', async () => opens(await exported('ec'), ec));
  it('with -legacy: RC2-40 certificates, triple-DES key, MAC with SHA-1', async () =>
    opens(await exported('rsa', ' -legacy'), rsa));
  it('with -legacy and an EC key', async () => opens(await exported('ec', ' -legacy'), ec));
  it('with a friendly name', async () => opens(await exported('ec', ' -name Release'), ec));
  it('with an empty passphrase', async () => {
    await opens(await exported('ec', '', ''), ec, '');
    assert.equal((await openPfxKey({ path: await exported('ec', '', '') })).algorithm, 'ecdsa');
  });
  it('with -legacy and an empty passphrase', async () => opens(await exported('ec', ' -legacy', ''), ec, ''));
  it('with letters outside ASCII and outside the Basic Multilingual Plane in the passphrase', async () => {
    await opens(await exported('ec', '', 'Schlüssel 鍵 🔑'), ec, 'Schlüssel 鍵 🔑');
    await opens(await exported('ec', ' -legacy', 'Schlüssel 鍵 🔑'), ec, 'Schlüssel 鍵 🔑');
  });
  it('with an unencrypted key and certificates', async () =>
    opens(await exported('rsa', ' -keypbe NONE -certpbe NONE'), rsa));
  it('without a MAC', async () => opens(await exported('ec', ' -nomac'), ec));
  it('with a MAC by SHA-512, AES-128 and AES-192', async () =>
    opens(await exported('ec', ' -macalg sha512 -keypbe aes-128-cbc -certpbe aes-192-cbc'), ec));
  it('with such letters, and three kinds of encryption in one file', async () =>
    opens(
      await exported('ec', ' -legacy -keypbe aes-256-cbc -macalg sha256', 'Schlüssel 鍵 🔑'),
      ec,
      'Schlüssel 鍵 🔑',
    ));
  it('with 600,000 iterations', async () => opens(await exported('ec', ' -iter 600000'), ec));
});

describe('openPfxKey opens what other programs write', () => {
  it('Windows: triple DES throughout, CSP name and key-set attributes, SHA-1 and 2000 iterations', async () => {
    const line =
      ' -legacy -keypbe PBE-SHA1-3DES -certpbe PBE-SHA1-3DES -macalg sha1 -iter 2000 -LMK -name te-1';
    await opens(await exported('rsa', `${line} -CSP Microsoft_Enhanced_Cryptographic_Provider`), rsa);
  });

  it('Windows 10 and later: AES-256 for key and certificates, SHA-256, 2000 iterations', async () =>
    opens(
      await exported('rsa', ' -keypbe aes-256-cbc -certpbe aes-256-cbc -iter 2000 -LMK -name te-2'),
      rsa,
    ));

  it('node-forge: triple DES', async () => opensAlone(await byForge(PASSPHRASE), PASSPHRASE));

  it('OpenSSL before 1.1: each UTF-8 octet of the passphrase read as a character', async () =>
    opensAlone(await byForge(Buffer.from('Schlüssel 鍵', 'utf8').toString('latin1')), 'Schlüssel 鍵'));

  it('a MAC for an empty passphrase without its terminator', async () =>
    opensAlone(await byForge(null), undefined));

  it('certificates signed by RSA-PSS and by ECDSA, byte for byte', async () => {
    const pss = '-sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:20 -sha256';
    await work.openssl(`req -x509 -key rsa.key -subj /CN=Alone ${pss} -out pss.pem`);
    const signed = Certificate.parse(
      Buffer.from(/-{5}\n([^-]+)-/.exec(await readFile(work.path('pss.pem'), 'latin1'))?.[1] ?? '', 'base64'),
    );
    for (const { raw } of [signed, rsa.certificate]) {
      const [leaf] = (await openPfxKey({ path: await assembled([rsa], [{ raw }]) })).certificates;
      assert.deepEqual(leaf?.raw, raw);
    }
  });

  it('BER with indefinite lengths and constructed strings, as Windows and NSS write it', async () => {
    const der = await readFile(await exported('ec'));
    const path = work.path('ber.pfx');
    await writeFile(path, toBer(der));
    await opens(path, ec);
  });

  it('signpipe itself, whose file openssl opens too', async () => {
    const path = work.path('ours.pfx');
    await writeFile(path, toPfx(ec, PASSPHRASE, 'Ours'));
    await opens(path, ec);
    const shown = await work.openssl(`pkcs12 -info -nodes -in ${path}`, '-passin', `pass:${PASSPHRASE}`);
    assert.match(shown, /friendlyName: Ours/);
    assert.match(shown, /BEGIN PRIVATE KEY/);
  });

  it('an unrelated certificate and the root in it: both are dropped', async () => {
    const other = await createTestCertificate({
      commonName: 'Unrelated',
      purpose: 'code-signing',
      key: 'p256',
    });
    const mixed = [root, other, intermediate, ec].map((each) => each.certificate);
    const path = await assembled([ec], mixed);
    await opens(path, ec, '');
  });

  it('a renewed certificate for the same key: the one that expires last comes first', async () => {
    const options = {
      commonName: 'Renewed',
      purpose: 'code-signing',
      issuer: intermediate,
      key: ec.key,
    } as const;
    const renewed = await createTestCertificate({ ...options, notAfter: new Date(Date.now() + 9e10) });
    const path = await assembled(
      [ec],
      [ec, renewed, intermediate].map((each) => each.certificate),
    );
    await opens(path, renewed, '');
  });
});

describe('openPfxKey chooses among several keys', () => {
  let path: string;
  before(async () => {
    path = await assembled(
      [rsa, ec],
      [rsa, ec, intermediate].map((each) => each.certificate),
    );
  });

  it('by friendly name, common name, and SHA-256', async () => {
    for (const name of ['friend of EC publisher', 'ec publisher', ec.certificate.sha256]) {
      const key = await openPfxKey({ path, name });
      assert.equal(key.certificates[0]?.commonName, 'EC publisher');
      assert.equal(key.algorithm, 'ecdsa');
    }
  });

  it('by SHA-256 among certificates for one key: the named one comes first', async () => {
    const soon = new Date(Date.now() + 9e7);
    const common = { purpose: 'code-signing', issuer: intermediate, key: ec.key } as const;
    const older = await createTestCertificate({ ...common, commonName: 'Older', notAfter: soon });
    const both = await assembled(
      [ec],
      [ec, older].map((each) => each.certificate),
    );
    const key = await openPfxKey({ path: both, name: older.certificate.sha256 });
    assert.equal(key.certificates[0]?.commonName, 'Older');
  });

  it('pfx-several-keys: lists the names if none is given', async () => {
    const error = await refuses('pfx-several-keys', () => openPfxKey({ path }));
    assert.match(error.message, /friend of RSA publisher, friend of EC publisher/);
  });

  it('pfx-no-such-key', async () => {
    const error = await refuses('pfx-no-such-key', () => openPfxKey({ path, name: 'Nobody' }));
    assert.match(error.message, /friend of RSA publisher/);
  });
});

describe('openPfxKey ignores', () => {
  const secret = bag(5, seq(oid('1.2.840.113549.1.12.10.1.5'), explicit(0, octets(Buffer.from('aes')))));
  const crl = bag(4, seq(oid('1.2.840.113549.1.9.23.1'), explicit(0, octets(Buffer.from('crl')))));
  const sdsi = bag(3, seq(oid('1.2.840.113549.1.9.22.2'), explicit(0, octets(Buffer.from('sdsi')))));

  for (const [what, others] of [
    ['a secret key', [secret]],
    ['a list of revoked certificates', [crl]],
    ['a certificate of another kind', [sdsi]],
    ['all of them, nested in a bag of bags', [bag(6, seq(secret, bag(6, seq(crl, sdsi))))]],
  ] as const)
    it(`${what}, unencrypted`, async () => {
      const path = await assembled([ec], [ec.certificate, intermediate.certificate], others);
      await opens(path, ec, undefined);
    });

  it('nothing else: it finds a key and its certificates in nested SafeContents', async () => {
    const own = bag(1, ec.key.export({ type: 'pkcs8', format: 'der' }));
    await opens(
      await assembled([], [ec.certificate, intermediate.certificate], [bag(6, seq(own))]),
      ec,
      undefined,
    );
  });

  it('a secret key beside the private key, as keytool writes it, encrypted', async () => {
    const path = join(import.meta.dirname, 'java-secret-key.p12');
    const key = await openPfxKey({ path, passphrase: 'secret1' });
    assert.equal(key.certificates[0]?.subject, 'CN=me');
    assert.equal((await key.sign('sha256', Buffer.from('x'))).value.length, 256);
  });
});

describe('openPfxKey reads a PKCS#12 file in text form', () => {
  for (const [what, wrapped] of [
    ['in base64, in lines', (der: Buffer) => der.toString('base64').replace(/.{76}/g, '$&\r\n')],
    ['in base64, in one line', (der: Buffer) => der.toString('base64')],
    ['in UTF-16', (der: Buffer) => Buffer.from(`\ufeff${der.toString('base64')}\r\n`, 'utf16le')],
    [
      'in PEM',
      (der: Buffer) =>
        `-----BEGIN PKCS12-----\n${der.toString('base64').replace(/.{64}/g, '$&\n')}\n-----END PKCS12-----`,
    ],
  ] as const)
    it(what, async () => {
      const path = work.path('as-text.pfx');
      await writeFile(path, wrapped(await readFile(await exported('ec'))));
      await opens(path, ec);
    });
});

describe('openPfxKey refuses', () => {
  it('pfx-wrong-passphrase', async () => {
    const wrong = 'wrong one 0815';
    for (const line of ['', ' -legacy', ' -nomac']) {
      const path = await exported('ec', line);
      await refuses('pfx-wrong-passphrase', () => openPfxKey({ path, passphrase: wrong }));
    }
  });

  it('key-passphrase-missing: none was given, and the empty one is wrong', async () => {
    const path = await exported('ec');
    await refuses('key-passphrase-missing', () => openPfxKey({ path }));
  });

  it('pfx-malformed: something else, truncated, followed by other bytes, nested too deeply', async () => {
    const whole = await readFile(await exported('ec'));
    const broken = [
      Buffer.alloc(0),
      Buffer.from('not a PFX at all'),
      whole.subarray(0, whole.length - 20),
      Buffer.concat([whole, Buffer.of(0)]),
      Buffer.alloc(100_000, 0x30),
      Buffer.concat([Buffer.alloc(60_000, Buffer.of(0x30, 0x80)), Buffer.alloc(10)]),
    ];
    const path = work.path('broken.pfx');
    for (const bytes of broken) {
      await writeFile(path, bytes);
      await refuses('pfx-malformed', () => openPfxKey({ path, passphrase: PASSPHRASE }));
    }
  });

  it('pfx-empty: certificates only', async () => {
    await work.openssl('pkcs12 -export -nokeys -in ec.pem -out empty.pfx', '-passout', `pass:${PASSPHRASE}`);
    await refuses('pfx-empty', () => openPfxKey({ path: work.path('empty.pfx'), passphrase: PASSPHRASE }));
  });

  it('pfx-no-certificate: a key only', async () => {
    await work.openssl(
      'pkcs12 -export -nocerts -inkey ec.key -out bare.pfx',
      '-passout',
      `pass:${PASSPHRASE}`,
    );
    await refuses('pfx-no-certificate', () =>
      openPfxKey({ path: work.path('bare.pfx'), passphrase: PASSPHRASE }),
    );
  });

  it('key-does-not-match', async () => {
    const path = await assembled([ec], [rsa.certificate]);
    await refuses('key-does-not-match', () => openPfxKey({ path }));
  });

  it('pfx-too-large', async () => {
    const path = work.path('large.pfx');
    await writeFile(path, Buffer.alloc(2 * 1024 * 1024));
    await refuses('pfx-too-large', () => openPfxKey({ path }));
  });

  it('pfx-unsupported: PBMAC1, RC2-128, two-key triple DES, with a hint how to export again', async () => {
    const paths = [
      await withPbmac1(await exported('ec', ' -nomac')),
      await exported('ec', ' -legacy -certpbe PBE-SHA1-RC2-128'),
      await exported('ec', ' -legacy -keypbe PBE-SHA1-2DES'),
    ];
    for (const path of paths) {
      const error = await refuses('pfx-unsupported', () => openPfxKey({ path, passphrase: PASSPHRASE }));
      assert.match(error.hint ?? '', /openssl pkcs12 -export/);
    }
  });

  it('pfx-unsupported: a key encrypted with scrypt', async () => {
    await work.openssl('pkcs8 -topk8 -scrypt -in ec.key -outform DER -out scrypt.der', '-passout', 'pass:');
    const shrouded = bag(2, await readFile(work.path('scrypt.der')));
    const path = work.path('scrypt.pfx');
    await writeFile(path, seq(integer(3), data(seq(data(seq(shrouded))))));
    await refuses('pfx-unsupported', () => openPfxKey({ path }));
  });

  it('any changed byte with a code, unless it is in a label', async () => {
    const whole = await readFile(await assembled([ec], [ec.certificate]));
    for (let at = 0; at < whole.length; at += 1) {
      const changed = Buffer.from(whole);
      changed[at] = (changed[at] ?? 0) ^ 0x41;
      try {
        readPkcs12(changed, '', 'changed');
      } catch (error) {
        assert.ok(error instanceof SignpipeError, `byte ${at}: ${String(error)}`);
      }
    }
  });

  it('key-iterations: a file that would keep the signer busy for hours', async () => {
    const [version, safe, mac] = children(parseDer(await readFile(await exported('ec')), 'pfx'), 'pfx');
    assert.ok(version && safe && mac);
    const [digest, salt] = children(mac, 'mac');
    assert.ok(digest && salt);
    const path = work.path('hostile.pfx');
    await writeFile(path, seq(version.raw, safe.raw, seq(digest.raw, salt.raw, integer(2_000_000_000))));
    await refuses('key-iterations', () => openPfxKey({ path, passphrase: PASSPHRASE }));
    await writeFile(path, seq(version.raw, safe.raw, seq(digest.raw, salt.raw, integer(2n ** 4000n))));
    await refuses('key-iterations', () => openPfxKey({ path, passphrase: PASSPHRASE }));
  });

  it('key-iterations: in the encryption of a key in its bag, or of certificates', async () => {
    const hostile = seq(oid('1.2.840.113549.1.12.1.3'), seq(octets(Buffer.alloc(8)), integer(2_000_000_000)));
    const key = data(seq(bag(2, seq(hostile, octets(Buffer.alloc(64))))));
    const content = seq(oid('1.2.840.113549.1.7.1'), hostile, tlv(0x80, Buffer.alloc(64)));
    const certificates = seq(oid('1.2.840.113549.1.7.6'), explicit(0, seq(integer(0), content)));
    const path = work.path('hostile-bag.pfx');
    for (const safe of [key, certificates]) {
      await writeFile(path, seq(integer(3), data(seq(safe))));
      await refuses('key-iterations', () => openPfxKey({ path }));
      await writeFile(path, toBer(seq(integer(3), data(seq(safe)))));
      await refuses('key-iterations', () => openPfxKey({ path }));
    }
  });

  it('key-too-weak: RSA of 1024 bits', async () => {
    await work.openssl('req -x509 -newkey rsa:1024 -nodes -subj /CN=weak -keyout weak.key -out weak.pem');
    await work.openssl('pkcs12 -export -inkey weak.key -in weak.pem -out weak.pfx', '-passout', 'pass:');
    await refuses('key-too-weak', () => openPfxKey({ path: work.path('weak.pfx') }));
  });

  it('key-unsupported: Ed25519, and a curve that Windows does not verify', async () => {
    for (const kind of ['ed25519', 'ec -pkeyopt ec_paramgen_curve:secp256k1']) {
      await work.openssl(`req -x509 -newkey ${kind} -nodes -subj /CN=odd -keyout odd.key -out odd.pem`);
      await work.openssl('pkcs12 -export -inkey odd.key -in odd.pem -out odd.pfx', '-passout', 'pass:');
      await refuses('key-unsupported', () => openPfxKey({ path: work.path('odd.pfx') }));
    }
  });

  it('pfx-unsupported: integrity by a signature instead of a passphrase', async () => {
    const path = work.path('signed.pfx');
    await writeFile(path, seq(integer(3), seq(oid('1.2.840.113549.1.7.2'), explicit(0, seq()))));
    await refuses('pfx-unsupported', () => openPfxKey({ path }));
  });

  it('pfx-other-format: names the format, and what to do', async () => {
    const path = work.path('other.pfx');
    const [cert, key] = [ec.certificate.raw, ec.key];
    for (const [content, what] of [
      ['feedfeed0000000200000001', /Java key store \(JKS\).*keytool -importkeystore/s],
      ['cececece0000000200000001', /Java key store \(JCEKS\).*keytool -importkeystore/s],
      ['1ef1b5b000000000', /PVK.*openssl rsa -inform PVK/s],
      [
        Buffer.from(keyToPem(key)),
        /private key in PEM.*give it as signing\.key, and its certificate chain as signing\.certificate$/s,
      ],
      [Buffer.from(`\ufeff${keyToPem(key)}`, 'utf16le'), /private key in PEM/],
      [Buffer.from(toPem([ec.certificate])), /a certificate, without a private key/],
      [cert, /a certificate in DER/],
      [key.export({ type: 'pkcs8', format: 'der' }), /a private key in DER/],
      [key.export({ type: 'sec1', format: 'der' }), /a private key in DER/],
      [Buffer.from('PuTTY-User-Key-File-3: ssh-ed25519\n'), /a key of PuTTY/],
      ['504b030414000000', /a zip/],
    ] as const) {
      await writeFile(path, typeof content === 'string' ? Buffer.from(content, 'hex') : content);
      const { message, hint } = await refuses('pfx-other-format', () =>
        openPfxKey({ path, passphrase: PASSPHRASE }),
      );
      assert.match(`${message}\n${hint}`, what);
    }
  });

  it('key-unsupported: an RSASSA-PSS key, which is not read as an ordinary RSA key', async () => {
    await work.openssl('genpkey -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048 -out pss.key');
    await work.openssl('req -x509 -key pss.key -subj /CN=PSS -out pss.pem');
    await work.openssl(
      'pkcs12 -export -inkey pss.key -in pss.pem -out pss.pfx',
      '-passout',
      `pass:${PASSPHRASE}`,
    );
    const { message, hint } = await refuses('key-unsupported', () =>
      openPfxKey({ path: work.path('pss.pfx'), passphrase: PASSPHRASE }),
    );
    assert.match(message, /rsa-pss/);
    assert.match(hint ?? '', /ordinary RSA key/);
  });

  it('file-not-found', async () => {
    await refuses('file-not-found', () => openPfxKey({ path: work.path('nowhere.pfx') }));
  });
});

const name = (identity: TestIdentity): Buffer =>
  set(seq(oid('1.2.840.113549.1.9.20'), set(bmp(`friend of ${identity.certificate.commonName}`))));
const data = (content: Buffer): Buffer => seq(oid('1.2.840.113549.1.7.1'), explicit(0, octets(content)));

/** A PFX without encryption or MAC: keys first, each with a friendly name, then certificates in this order. */
async function assembled(
  keys: TestIdentity[],
  certificates: readonly { raw: Buffer }[],
  others: readonly Buffer[] = [],
): Promise<string> {
  const bags = [
    ...keys.map((each) => bag(1, each.key.export({ type: 'pkcs8', format: 'der' }), name(each))),
    ...certificates.map((each) => bag(3, seq(oid('1.2.840.113549.1.9.22.1'), explicit(0, octets(each.raw))))),
    ...others,
  ];
  const pfx = seq(integer(3), data(seq(data(seq(...bags)))));
  const path = work.path(`assembled-${createHash('sha1').update(pfx).digest('hex')}.pfx`);
  await writeFile(path, pfx);
  return path;
}

/** A PFX that forge writes with triple DES: the RSA key with a new certificate, for this passphrase or none. */
async function byForge(passphrase: string | null): Promise<string> {
  const key = forge.pki.privateKeyFromPem(rsa.key.export({ type: 'pkcs1', format: 'pem' }).toString());
  await work.openssl('req -x509 -key rsa.key -subj /CN=Alone -out alone.pem');
  const certificate = forge.pki.certificateFromPem(await readFile(work.path('alone.pem'), 'utf8'));
  const pfx = forge.pkcs12.toPkcs12Asn1(key, [certificate], passphrase, { algorithm: '3des' });
  const path = work.path('forge.pfx');
  await writeFile(path, Buffer.from(forge.asn1.toDer(pfx).getBytes(), 'latin1'));
  return path;
}

async function opensAlone(path: string, passphrase: string | undefined): Promise<void> {
  const loaded = await openPfxKey({ path, passphrase });
  assert.deepEqual(
    loaded.certificates.map((each) => each.commonName),
    ['Alone'],
  );
}

/** Adds a PBMAC1 (RFC 9579) to a PFX without a MAC, as openssl 3.4 and Java 24 can write it. */
async function withPbmac1(file: string): Promise<string> {
  const [version, safe] = children(parseDer(await readFile(file), 'pfx'), 'pfx');
  assert.ok(version && safe);
  const content = parseDer(children(safe, 'safe')[1]?.body ?? Buffer.alloc(0), 'content').body;
  const keyBytes = 32;
  const salt = Buffer.alloc(16, 7);
  const mac = createHmac('sha512', pbkdf2Sync(PASSPHRASE, salt, 1000, keyBytes, 'sha256')).update(content);
  const prf = seq(oid('1.2.840.113549.2.9'), tlv(0x05));
  const derivation = seq(
    oid('1.2.840.113549.1.5.12'),
    seq(octets(salt), integer(1000), integer(keyBytes), prf),
  );
  const scheme = seq(oid('1.2.840.113549.2.11'), tlv(0x05));
  const algorithm = seq(oid('1.2.840.113549.1.5.14'), seq(derivation, scheme));
  const path = `${file}.pbmac1`;
  const macData = seq(seq(algorithm, octets(mac.digest())), octets(Buffer.from('NOT USED')), integer(1));
  await writeFile(path, seq(version.raw, safe.raw, macData));
  return path;
}

/** Encodes a value again with indefinite lengths and OCTET STRINGs in segments of 100 bytes. */
function toBer(bytes: Buffer): Buffer {
  const end = Buffer.alloc(2);
  const der = parseDer(bytes, 'test');
  if (der.tag === 0x04 && der.body.length > 100) {
    const count = Math.ceil(der.body.length / 100);
    const pieces = Array.from({ length: count }, (_, i) => octets(der.body.subarray(i * 100, i * 100 + 100)));
    return Buffer.concat([Buffer.of(0x24, 0x80), ...pieces, end]);
  }
  if ((der.tag & 0x20) === 0) return tlv(der.tag, der.body);
  const parts = children(der, 'test').map((each) => toBer(each.raw));
  return Buffer.concat([Buffer.of(der.tag, 0x80), ...parts, end]);
}

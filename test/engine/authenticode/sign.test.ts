import assert from 'node:assert/strict';
import { createHash, X509Certificate } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { children, DerReader, readOid, readOctets, TAG } from '../../../src/lib/asn1/der.ts';
import { NULL, sorted } from '../../../src/lib/asn1/encode-der.ts';
import { DIGEST_BYTES, OID, type DigestName } from '../../../src/lib/asn1/oids.ts';
import { readIndirectData } from '../../../src/engine/authenticode/indirect-data.ts';
import { parseSignature } from '../../../src/engine/authenticode/signature.ts';
import { digestedBytes } from '../../../src/engine/authenticode/cms-profile.ts';
import { signProgram, type SignOptions } from '../../../src/engine/authenticode/sign.ts';
import { proveOnlySignatureAdded } from '../../../src/engine/authenticode/only-signature-added.ts';
import { signedDataFields } from '../../../src/lib/cms/signed-data.ts';
import { unavailable } from '../../../src/lib/errors.ts';
import type { SigningKey } from '../../../src/engine/keys/signing-key.ts';
import {
  createTestCertificate,
  createTestPki,
  testSigningKey,
  toPem,
  type KeyKind,
  type TestIdentity,
  type TestPki,
} from '../../../src/sandbox/certificates.ts';
import { buildPe, filler, type PeOptions } from '../../fixtures/pe.ts';
import { program, programs } from '../../fixtures/programs.ts';
import {
  bytesOf,
  openBytes,
  inFolder,
  must,
  OpensslTimestamper,
  osslsigncode,
  osslsigncodeVerify,
  SIGNATURE_OK,
  findingsIn,
  TIMESTAMP_OK,
  tool,
  writeIdentity,
} from './tools.ts';

const KEYS: readonly KeyKind[] = ['rsa2048', 'rsa3072', 'rsa4096', 'p256', 'p384', 'p521'];
const HASHES: readonly DigestName[] = ['sha256', 'sha384', 'sha512'];
const KINDS: readonly (readonly [string, PeOptions])[] = [
  ['PE32', { machine: 'x86' }],
  ['PE32+', {}],
  ['ARM64', { machine: 'arm64' }],
  ['DLL', { machine: 'x86', dll: true }],
  ['driver', { subsystem: 'native' }],
  ['EFI', { subsystem: 'efi' }],
  ...Array.from({ length: 8 }, (_, extra): [string, PeOptions] => [
    `overlay of 16 + ${extra} bytes`,
    { overlay: filler(16 + extra, 3) },
  ]),
];

/** One certificate authority, and a code-signing certificate for every kind of key, created once. */
class World {
  readonly timestamper: OpensslTimestamper;

  private constructor(
    readonly pki: TestPki,
    readonly signers: ReadonlyMap<KeyKind, TestIdentity>,
  ) {
    this.timestamper = new OpensslTimestamper(pki.timestamping);
  }

  static async make(): Promise<World> {
    const pki = await createTestPki({ key: 'p256', intermediate: true });
    const issuer = pki.intermediate ?? pki.root;
    const signers = new Map<KeyKind, TestIdentity>();
    for (const key of KEYS)
      signers.set(
        key,
        await createTestCertificate({ commonName: key, purpose: 'code-signing', issuer, key }),
      );
    return new World(pki, signers);
  }

  signer(kind: KeyKind): TestIdentity {
    return this.signers.get(kind) ?? assert.fail();
  }

  key(kind: KeyKind = 'p256'): SigningKey {
    return testSigningKey(this.signer(kind));
  }

  /** The signed file, with a timestamp unless `options` say otherwise. */
  async sign(bytes: Buffer, options: Partial<SignOptions> = {}): Promise<Buffer> {
    const { content } = await signProgram(await openBytes(bytes), {
      key: this.key(),
      timestamper: this.timestamper,
      ...options,
    });
    return bytesOf(content);
  }

  verify(bytes: Buffer): Promise<string> {
    return osslsigncodeVerify(bytes, this.pki.root);
  }
}

let world: World;
before(async () => {
  world = await World.make();
});

const count = (text: string, pattern: RegExp): number => text.match(new RegExp(pattern, 'gm'))?.length ?? 0;

const signatureOf = async (bytes: Buffer): Promise<Buffer> =>
  (await openBytes(bytes)).signatures[0] ?? assert.fail('no signature');

const primaryOf = async (bytes: Buffer): Promise<ReturnType<typeof parseSignature>> =>
  parseSignature(await signatureOf(bytes), 'signature');

describe('a signed program satisfies osslsigncode and sbverify', () => {
  // Of 14 kinds x 6 keys x 3 digests x with or without timestamp = 504, these 42 hold every pair of
  // kind and digest, of key and digest, and of key and timestamp.
  KINDS.forEach(([kind, options], row) => {
    HASHES.forEach((hash, column) => {
      const key = KEYS[(row + 2 * column) % KEYS.length] ?? 'p256';
      const timestamped = (row + column) % 2 === 0;
      it(`${kind}, ${key}, ${hash}${timestamped ? ', timestamped' : ''}`, async () => {
        const original = buildPe(options);
        const timestamper = timestamped ? world.timestamper : null;
        const signed = await world.sign(original, { key: world.key(key), hash, timestamper });
        const text = await world.verify(signed);
        assert.match(text, SIGNATURE_OK);
        assert.equal(count(text, TIMESTAMP_OK), timestamped ? 1 : 0);
        assert.doesNotMatch(text, /MISMATCH|invalid PE checksum|failed/i);
        await proveOnlySignatureAdded(await openBytes(original), await openBytes(signed));
        assert.deepEqual(findingsIn(await openBytes(signed)), []);
        if (hash === 'sha256') await sbverify(signed);
      });
    });
  });

  it('real programs of every toolchain', async () => {
    const seen = new Set<string>();
    for (const { name, path, signed, toolchain, arch, kind } of await programs()) {
      if (signed || seen.has(toolchain + arch + kind)) continue;
      seen.add(toolchain + arch + kind);
      const original = await readFile(path);
      const bytes = await world.sign(original);
      const text = await world.verify(bytes);
      assert.match(text, SIGNATURE_OK, name);
      assert.match(text, TIMESTAMP_OK, name);
      await proveOnlySignatureAdded(await openBytes(original), await openBytes(bytes));
      await sbverify(bytes);
    }
    assert.ok(seen.size >= 12, `${seen.size} kinds of program`);
  });
});

/** sbverify knows only SHA-256 and no timestamps; it checks the file's digest and the signature. */
async function sbverify(bytes: Buffer): Promise<void> {
  await inFolder(async (folder) => {
    await writeFile(join(folder, 'ca.pem'), toPem([world.pki.root.certificate]));
    await writeFile(join(folder, 'program.efi'), bytes);
    const text = await must('sbverify', '--cert', join(folder, 'ca.pem'), join(folder, 'program.efi'));
    assert.match(text, /Signature verification OK/);
  });
}

const fields = async (bytes: Buffer): Promise<ReturnType<typeof signedDataFields>> =>
  signedDataFields(await signatureOf(bytes), 'signature');

/** The SignerInfo's signature algorithm and its parameters. */
async function algorithm(key: KeyKind, hash: DigestName): Promise<[string, Buffer | undefined]> {
  const { signer } = await fields(await world.sign(buildPe(), { key: world.key(key), hash }));
  const [type, parameters] = children(signer[4] ?? assert.fail(), 'algorithm');
  return [readOid(type ?? assert.fail()), parameters?.raw];
}

describe('the structure of a signature', () => {
  it('is SignedData version 1 over SpcIndirectDataContent, a SEQUENCE without an OCTET STRING', async () => {
    const { data } = await fields(await world.sign(buildPe()));
    assert.deepEqual(data[0]?.raw, Buffer.from('020101', 'hex'));
    const { content, contentType } = (await primaryOf(await world.sign(buildPe()))).data;
    assert.equal(contentType, '1.3.6.1.4.1.311.2.1.4');
    assert.equal(content?.tag, TAG.sequence);
  });

  it('names one digest throughout: set, signer, content, messageDigest', async () => {
    for (const hash of HASHES) {
      const { data, signer, content } = await primaryOf(await world.sign(buildPe(), { hash }));
      assert.deepEqual(data.digestAlgorithms, [OID[hash]]);
      assert.equal(signer.digestAlgorithm, OID[hash]);
      const stated = readIndirectData(content, 'it');
      assert.equal(stated.hash, hash);
      assert.equal(stated.digest.length, DIGEST_BYTES[hash]);
      const digest = signer.signedAttributes.find(({ oid }) => oid === OID.messageDigest)?.values[0];
      // Over the contents of the SEQUENCE, without its tag and length.
      assert.deepEqual(
        readOctets(digest ?? assert.fail()),
        createHash(hash).update(digestedBytes(content)).digest(),
      );
    }
  });

  it('has the signed attributes of signtool, in DER order, and no signing time', async () => {
    const { signer } = await primaryOf(await world.sign(buildPe()));
    assert.deepEqual(
      new Set(signer.signedAttributes.map(({ oid }) => oid)),
      new Set([OID.contentType, OID.messageDigest, OID.spcStatementType, OID.spcSpOpusInfo]),
    );
    const raw = signer.signedAttributes.map((each) => each.raw);
    assert.deepEqual(raw, sorted(raw));
    const purpose = signer.signedAttributes.find(({ oid }) => oid === OID.spcStatementType)?.values[0];
    const reader = new DerReader(purpose ?? assert.fail(), 'purpose');
    assert.equal(readOid(reader.next()), '1.3.6.1.4.1.311.2.1.21', 'individual code signing');
    reader.end();
  });

  it('signs with rsaEncryption and NULL, or with ecdsa-with-SHA and nothing', async () => {
    assert.deepEqual(await algorithm('rsa2048', 'sha384'), ['1.2.840.113549.1.1.1', NULL]);
    assert.deepEqual(await algorithm('p256', 'sha256'), ['1.2.840.10045.4.3.2', undefined]);
    assert.deepEqual(await algorithm('p384', 'sha384'), ['1.2.840.10045.4.3.3', undefined]);
    assert.deepEqual(await algorithm('p521', 'sha512'), ['1.2.840.10045.4.3.4', undefined]);
  });

  it('carries the chain without the root, in DER order', async () => {
    const { data } = await primaryOf(await world.sign(buildPe()));
    const raw = data.certificates.map((each) => each.raw);
    assert.deepEqual(raw, sorted(raw));
    assert.deepEqual(data.certificates.map((each) => each.commonName).sort(), ['Test intermediate', 'p256']);
  });

  it('has one unsigned attribute: the RFC 3161 token over the signature value', async () => {
    const { signer, timestamps } = await primaryOf(await world.sign(buildPe()));
    assert.deepEqual(
      signer.unsignedAttributes.map(({ oid }) => oid),
      ['1.3.6.1.4.1.311.3.3.1'],
    );
    assert.equal(timestamps.length, 1);
    assert.deepEqual(world.timestamper.asked.at(-1), signer.signature);
  });

  it('states name and address in any script', async () => {
    const url = 'https://example.org/caf%C3%A9?a=b';
    const describe = (name: string): Promise<Buffer> =>
      world.sign(buildPe(), { name, url, timestamper: null });
    for (const name of ['a', 'Program «Größe» プログラム', 'beyond the BMP: 🖉'])
      assert.deepEqual((await primaryOf(await describe(name))).description, { name, url });
    const text = await world.verify(await describe('Program «Größe» プログラム'));
    assert.match(text, /Text description: Program «Größe» プログラム\n/);
    assert.match(text, /URL description: https:\/\/example.org\/caf%C3%A9\?a=b\n/);
  });

  it('claims a signing time when asked to', async () => {
    const signingTime = new Date('2021-02-03T04:05:06Z');
    const signed = await world.sign(buildPe(), { signingTime, timestamper: null });
    assert.deepEqual((await primaryOf(signed)).signingTime, signingTime);
    assert.match(await world.verify(signed), /Signing time: Feb  3 04:05:06 2021 GMT/);
  });

  it('depends only on file and key with RSA', async () => {
    const options = { key: world.key('rsa2048'), timestamper: null };
    assert.ok((await world.sign(buildPe(), options)).equals(await world.sign(buildPe(), options)));
  });

  it('is what signProgram returns beside the signed file', async () => {
    const made = await signProgram(await openBytes(buildPe()), {
      key: world.key(),
      timestamper: world.timestamper,
    });
    const signed = await openBytes(await bytesOf(made.content));
    assert.deepEqual(signed.signatures, [made.signature]);
    assert.deepEqual(await signed.digest(made.hash), made.digest);
    assert.equal(made.timestamp?.url, 'http://tsa.example/');
    assert.match(made.timestamp.authority, /Test timestamp authority/);
  });
});

describe('a program that is signed already', () => {
  it('already-signed: refused unless the options permit it', async () => {
    const signed = await world.sign(buildPe());
    await assert.rejects(world.sign(signed), { code: 'already-signed', kind: 'not-allowed' });
    await assert.rejects(world.sign(signed, { existing: 'refuse' }), { code: 'already-signed' });
  });

  it('replaced: equals the signed original', async () => {
    const options = { key: world.key('rsa2048'), timestamper: null, existing: 'replace' } as const;
    const original = buildPe({ overlay: filler(16) });
    const twice = await world.sign(await world.sign(original), options);
    assert.ok(twice.equals(await world.sign(original, options)));
  });

  it('appended: the new signature is nested, both verify, and the first is unchanged', async () => {
    const first = await world.sign(buildPe({ overlay: filler(3) }));
    const second = await world.sign(first, { existing: 'append', hash: 'sha512', key: world.key('rsa3072') });
    const third = await world.sign(second, { existing: 'append', hash: 'sha384' });
    const text = await world.verify(third);
    assert.equal(count(text, SIGNATURE_OK), 3);
    assert.equal(count(text, TIMESTAMP_OK), 3);
    const primary = await primaryOf(third);
    assert.equal(primary.nested.length, 2);
    assert.deepEqual(primary.timestamps, (await primaryOf(first)).timestamps);
    await proveOnlySignatureAdded(await openBytes(first), await openBytes(second));
    await proveOnlySignatureAdded(await openBytes(second), await openBytes(third));
  });

  it("appended to osslsigncode's signature, and osslsigncode's to ours", async () => {
    await inFolder(async (folder) => {
      await writeIdentity(folder, 'key', world.signer('p256'));
      const key = ['-certs', join(folder, 'key.crt'), '-key', join(folder, 'key.key'), '-h', 'sha384'];
      const theirs = await osslsigncode('sign', buildPe(), ...key);
      const both = await world.sign(theirs, { existing: 'append' });
      assert.equal(count(await world.verify(both), SIGNATURE_OK), 2);
      await proveOnlySignatureAdded(await openBytes(theirs), await openBytes(both));
      const ours = await world.sign(buildPe());
      const nested = await osslsigncode('sign', ours, ...key, '-nest');
      assert.equal(count(await world.verify(nested), SIGNATURE_OK), 2);
      await proveOnlySignatureAdded(await openBytes(ours), await openBytes(nested));
    });
  });

  it('beside the others in a program for firmware, all of which are replaced', async () => {
    const shim = await readFile((await program('shim-signed.efi')).path);
    const appended = await world.sign(shim, { existing: 'append' });
    assert.equal((await openBytes(appended)).signatures.length, 3);
    await proveOnlySignatureAdded(await openBytes(shim), await openBytes(appended));
    await sbverify(appended);
    const replaced = await world.sign(shim, { existing: 'replace' });
    assert.equal(count(await world.verify(replaced), SIGNATURE_OK), 1);
    await proveOnlySignatureAdded(await openBytes(shim), await openBytes(replaced));
  });

  it("appended to a vendor's old signatures: SHA-1, nested, counter-signed", async () => {
    for (const name of ['inno-lzma64.exe', 'inno-compiler.exe']) {
      const original = await readFile((await program(name)).path);
      const signed = await world.sign(original, { existing: 'append' });
      const [was, is] = [await primaryOf(original), await primaryOf(signed)];
      assert.deepEqual(is.signer.signature, was.signer.signature);
      assert.equal(is.nested.length, was.nested.length + 1);
      await proveOnlySignatureAdded(await openBytes(original), await openBytes(signed));
    }
  });
});

describe('detached signatures are interchangeable with osslsigncode', () => {
  for (const extra of [0, 3, 5])
    it(`extract, remove, attach, with an overlay of ${extra} bytes`, async () => {
      const original = buildPe({ overlay: filler(extra) });
      const signed = await world.sign(original);
      const extracted = await osslsigncode('extract-signature', signed);
      assert.deepEqual(extracted, await signatureOf(signed));
      const removed = await bytesOf(await (await openBytes(signed)).remove());
      assert.deepEqual(removed, await osslsigncode('remove-signature', signed));
      await inFolder(async (folder) => {
        const file = join(folder, 'signature.p7');
        await writeFile(file, extracted);
        const ca = join(folder, 'ca.pem');
        await writeFile(ca, toPem([world.pki.root.certificate]));
        const options = ['-sigin', file, '-CAfile', ca, '-TSA-CAfile', ca];
        for (const unsigned of [original, removed]) {
          assert.deepEqual(await osslsigncode('attach-signature', unsigned, ...options), signed);
          assert.deepEqual(await bytesOf(await (await openBytes(unsigned)).embed(extracted)), signed);
        }
      });
    });
});

/** A key that always returns `signature`. */
const keyThatAnswers = (signature: Buffer): SigningKey => ({
  certificates: world.key().certificates,
  algorithm: 'ecdsa',
  // eslint-disable-next-line require-await -- the interface is asynchronous
  sign: async () => ({ value: signature, certificates: world.key().certificates }),
  // eslint-disable-next-line require-await -- the interface is asynchronous
  close: async () => {},
});

describe('signing fails', () => {
  it('key-signature-wrong: the signature does not verify, and no timestamp is asked for', async () => {
    const timestamper = new OpensslTimestamper(world.pki.timestamping);
    const { value: other } = await world.key('p384').sign('sha256', Buffer.from('something else'));
    for (const key of [keyThatAnswers(filler(70)), keyThatAnswers(Buffer.alloc(0)), keyThatAnswers(other)])
      await assert.rejects(world.sign(buildPe(), { key, timestamper }), { code: 'key-signature-wrong' });
    assert.deepEqual(timestamper.asked, []);
  });

  it('with the error of the timestamp authority, and no signed program', async () => {
    const timestamper = { timestamp: () => Promise.reject(unavailable('timestamp-unavailable', 'down')) };
    await assert.rejects(world.sign(buildPe(), { timestamper }), { code: 'timestamp-unavailable' });
  });

  it('signature-name: empty, endless, or with control characters', async () => {
    for (const name of ['', 'a\nb', 'a\0', '\ud800', 'x'.repeat(1025)])
      await assert.rejects(world.sign(buildPe(), { name }), { code: 'signature-name', kind: 'usage' });
  });

  it('signature-url: not an absolute web address in ASCII', async () => {
    for (const url of [
      '',
      'example.org',
      'ftp://example.org/',
      'http://exämple.org/',
      'http://a b/',
      'https://',
    ])
      await assert.rejects(world.sign(buildPe(), { url }), { code: 'signature-url', kind: 'usage' });
  });
});

describe('OpenSSL', () => {
  it('reads the structure and finds the certificates', async () => {
    const signed = await world.sign(buildPe());
    await inFolder(async (folder) => {
      const file = join(folder, 'signature.der');
      await writeFile(file, await signatureOf(signed));
      const { status, text } = await tool('openssl', 'pkcs7', '-inform', 'DER', '-in', file, '-print_certs');
      assert.equal(status, 0, text);
      const pems = text.match(/-----BEGIN[^]+?-----END CERTIFICATE-----/g) ?? [];
      const leaf = world.signer('p256').certificate;
      assert.ok(pems.some((pem) => new X509Certificate(pem).raw.equals(leaf.raw)));
    });
  });
});

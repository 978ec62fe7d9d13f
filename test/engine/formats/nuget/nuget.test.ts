import assert from 'node:assert/strict';
import { createHash, sign as cryptoSign } from 'node:crypto';
import { before, describe, it } from 'node:test';
import { proveOnlySignatureAdded } from '../../../../src/engine/authenticode/only-signature-added.ts';
import { signProgram, type SignOptions } from '../../../../src/engine/authenticode/sign.ts';
import { verifySignableFile, type VerifyReport } from '../../../../src/engine/authenticode/verify.ts';
import { openSignableFile, recognize } from '../../../../src/engine/formats/recognize.ts';
import type { SignableFile } from '../../../../src/engine/formats/signable-file.ts';
import { context, parseDer } from '../../../../src/lib/asn1/der.ts';
import { explicit, octets, oid, seq, set, tlv } from '../../../../src/lib/asn1/encode-der.ts';
import { OID } from '../../../../src/lib/asn1/oids.ts';
import {
  algorithm,
  attribute,
  baseAttributes,
  buildSignedData,
  buildSignerInfo,
  signedAttributesToSign,
  withUnsignedAttributes,
} from '../../../../src/lib/cms/build-signed-data.ts';
import { signedDataFields } from '../../../../src/lib/cms/signed-data.ts';
import {
  createTestCertificate,
  createTestPki,
  testSigningKey,
  type TestIdentity,
  type TestPki,
} from '../../../../src/sandbox/certificates.ts';
import { buildNuget, nugetEntries } from '../../../fixtures/nuget.ts';
import { extra, forge, zip64End, type Forged } from '../../../lib/zip/zips.ts';
import { bytesOf, inFolder, must, source } from '../../authenticode/tools.ts';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const at = new Date('2026-05-14T12:50:34Z');
let pki: TestPki;
let signed: Buffer;
let cms: Buffer;

const open = (bytes: Buffer): Promise<SignableFile> => openSignableFile(source(bytes, 'example.nupkg'));
const options = (more: Partial<SignOptions> = {}): SignOptions => ({
  key: testSigningKey(pki.codeSigning),
  timestamper: null,
  signingTime: at,
  roots: [pki.root.certificate],
  ...more,
});
const verify = async (bytes: Buffer): Promise<VerifyReport> =>
  verifySignableFile(await open(bytes), { roots: [pki.root.certificate] });
const codes = ({ problems }: VerifyReport): string[] => problems.map(({ code }) => code);

before(async () => {
  pki = await createTestPki({ key: 'rsa2048', authorityKey: 'rsa2048' });
  const result = await signProgram(await open(buildNuget()), options());
  [signed, cms] = [await bytesOf(result.content), result.signature];
});

/** The package with another signature in its entry. */
const withSignature = async (signature: Buffer): Promise<Buffer> =>
  bytesOf(await (await open(buildNuget())).embed(signature));

describe('a NuGet package', () => {
  it('is one with a manifest and content types, or with a signature; a zip with either alone is not', async () => {
    const [manifest = assert.fail(), types = assert.fail()] = nugetEntries('');
    const kindOf = (entries: Forged[]): Promise<unknown> => recognize(source(forge(entries), 'a.zip'));
    assert.equal(await kindOf([manifest, types]), 'program');
    assert.equal(await kindOf([{ name: '.signature.p7s', method: 0, content: 'x' }]), 'program');
    assert.equal(await kindOf([manifest]), 'zip');
    assert.equal(await kindOf([types]), 'zip');
    assert.equal(await kindOf([{ ...manifest, name: 'sub/a.nuspec' }, types]), 'zip');
  });

  it('has the digest of the whole zip in its signature', async () => {
    const digest = createHash('sha256').update(buildNuget()).digest();
    const text = `Version:1\n\n2.16.840.1.101.3.4.2.1-Hash:${digest.toString('base64')}\n\n`;
    assert.ok(cms.includes(octets(Buffer.from(text))));
    assert.deepEqual(await (await open(signed)).digest('sha256'), digest);
  });

  it('gets its signature as the last entry, stored, with the time of signing; the rest stays', () => {
    const original = buildNuget();
    const directory = original.readUInt32LE(original.length - 6);
    assert.deepEqual(signed.subarray(0, directory), original.subarray(0, directory));
    const local = signed.subarray(directory);
    assert.equal(
      local.subarray(0, 14).toString('hex'),
      `504b0304 1400 0000 0000 5166 ae5c`.replaceAll(' ', ''),
    );
    assert.deepEqual(local.subarray(44, 44 + cms.length), cms);
  });

  it('is signed by the certificate with its chain up to the root, named by its key identifier', () => {
    const { data, signer } = signedDataFields(cms, 'it');
    const [version, , , certificates = assert.fail()] = data;
    assert.equal(version?.body[0], 3);
    assert.equal(signer[1]?.tag, 0x80);
    for (const each of [pki.codeSigning.certificate, pki.root.certificate])
      assert.ok(certificates.raw.includes(each.raw));
  });

  it('verifies with OpenSSL as CMS with CAdES attributes', () =>
    inFolder(async (folder) => {
      const [signature, root] = [join(folder, 'a.p7s'), join(folder, 'root.pem')];
      await writeFile(signature, cms);
      await writeFile(root, pki.root.certificate.x509.toString());
      const text = await must(
        'openssl',
        ...[
          'cms',
          '-verify',
          '-inform',
          'DER',
          '-in',
          signature,
          '-CAfile',
          root,
          '-purpose',
          'any',
          '-cades',
        ],
      );
      assert.match(text, /Version:1/);
    }));

  it('keeps the entry of a signer that wrote another time or host, for extraction and attachment', async () => {
    const other = Buffer.from(signed);
    const [local, central] = [signed.indexOf('.signature') - 30, signed.lastIndexOf('.signature') - 46];
    for (const place of [local + 10, central + 12]) other.writeUInt16LE(0x4651, place);
    other.writeUInt16LE(0x0314, central + 4);
    assert.equal((await verify(other)).status, 'ok');
    const kept = await (await open(other)).detached?.(cms);
    assert.equal(kept?.readUInt32LE(0), 0x04034b50);
    const changed = Buffer.from(kept);
    changed.writeUInt32LE(7, 14);
    await assert.rejects(async () => (await open(buildNuget())).attach?.(changed), {
      code: 'nuget-signature-entry',
    });
    assert.deepEqual(
      await bytesOf((await (await open(buildNuget())).attach?.(kept)) ?? assert.fail()),
      other,
    );
  });

  it('may have an entry as jsign writes it, without a time', async () => {
    const other = Buffer.from(signed);
    const [local, central] = [signed.indexOf('.signature') - 30, signed.lastIndexOf('.signature') - 46];
    for (const place of [local + 10, central + 12]) other.writeUInt32LE(0x00210000, place);
    other.writeUInt16LE(45, central + 4);
    assert.equal((await verify(other)).status, 'ok');
  });

  it('is proven against the package that it was made of, and names the entry that differs', async () => {
    await proveOnlySignatureAdded(await open(buildNuget()), await open(signed));
    await assert.rejects(
      proveOnlySignatureAdded(await open(buildNuget('two')), await open(signed)),
      (error: Error) => error.message.includes('lib/net8.0/example.txt'),
    );
  });
});

describe('the signature of a repository', () => {
  /** A SignerInfo with a repository's attributes over content or, without a type, over a signature value. */
  function repositorySigner(
    identity: TestIdentity,
    content: Buffer,
    type: string | null,
    more: Buffer[] = [],
  ): Buffer {
    const { certificate } = identity;
    const digest = createHash('sha256').update(content).digest();
    const named = createHash('sha256').update(certificate.raw).digest();
    const attributes = [
      ...baseAttributes(type ?? OID.data, digest, at).slice(type === null ? 1 : 0),
      attribute(OID.commitmentType, seq(oid(OID.proofOfReceipt))),
      attribute(OID.signingCertificateV2, seq(seq(seq(octets(named))))),
      attribute(OID.nugetServiceIndex, tlv(0x16, Buffer.from('https://repository.example/index.json'))),
      ...more,
    ];
    const signature = cryptoSign('sha256', signedAttributesToSign(attributes), identity.key);
    return buildSignerInfo({
      certificate,
      hash: 'sha256',
      signedAttributes: attributes,
      signatureAlgorithm: algorithm(OID.rsaEncryption),
      signature,
    });
  }

  const repository = (): Promise<TestIdentity> =>
    createTestCertificate({
      commonName: 'Repository',
      purpose: 'code-signing',
      issuer: pki.root,
      key: pki.codeSigning.key,
    });

  /** The author's signature with a repository's countersignature, whose certificate is added. */
  async function countersigned(
    change: (signer: Buffer) => Buffer = (signer) => signer,
    more: Buffer[] = [],
  ): Promise<Buffer> {
    const identity = await repository();
    const { type, data, signer } = signedDataFields(cms, 'it');
    const value = signer[5]?.body ?? assert.fail();
    const added = change(repositorySigner(identity, value, null, more));
    const certificates = [...(data[3] ? [data[3].body] : []), identity.certificate.raw];
    const parts = [...data.slice(0, 3).map(({ raw }) => raw), tlv(context(0), ...certificates)];
    const whole = seq(type.raw, explicit(0, seq(...parts, set(seq(...signer.map(({ raw }) => raw))))));
    return withUnsignedAttributes(whole, [attribute(OID.counterSignature, added)], 'it');
  }

  it('is read, and reported as not the author’s', async () => {
    const file = await open(buildNuget());
    const content = (await file.contentToSign('sha256', await file.digest('sha256'), {})).der;
    const identity = await repository();
    const signature = buildSignedData({
      version: 1,
      hash: 'sha256',
      contentType: OID.data,
      content,
      certificates: [identity.certificate],
      signer: repositorySigner(identity, parseDer(content, 'it').body, OID.data),
    });
    const report = await verify(await withSignature(signature));
    assert.deepEqual([report.problems, report.status], [[], 'ok']);
    const notes = report.signatures[0]?.notes.filter(({ code }) => code === 'nuget-repository');
    assert.match(
      notes?.[0]?.message ?? '',
      /signed by the repository https:\/\/repository.example\/index.json/,
    );
  });

  it('may stand on an author’s, which stays the author’s', async () => {
    const report = await verify(await withSignature(await countersigned()));
    assert.deepEqual([report.problems, report.status], [[], 'ok']);
    assert.match(JSON.stringify(report.signatures[0]?.notes), /countersigned by the repository/);
  });

  it('nuget-countersignature: signs more than repositories do, by any key', async () => {
    const owners = attribute('1.3.6.1.4.1.311.84.2.1.1.2', seq(tlv(0x0c, Buffer.from('owner'))));
    const usual = await countersigned(undefined, [owners]);
    assert.deepEqual(codes(await verify(await withSignature(usual))), []);
    const message = await countersigned(undefined, [attribute('1.2.3', octets(Buffer.from('message')))]);
    assert.deepEqual(codes(await verify(await withSignature(message))), ['nuget-countersignature']);
  });

  it('nuget-countersignature: is not over this signature, or not the only one', async () => {
    const broken = await countersigned((signer) => Buffer.concat([signer.subarray(0, -1), Buffer.from([0])]));
    assert.deepEqual(codes(await verify(await withSignature(broken))), ['nuget-countersignature']);
    const one = await countersigned();
    const { signer } = signedDataFields(one, 'it');
    const unsigned = signer.at(-1)?.body ?? assert.fail();
    const twice = withUnsignedAttributes(one, [unsigned, unsigned], 'it');
    assert.deepEqual(codes(await verify(await withSignature(twice))), ['nuget-countersignature']);
  });
});

describe('packages that NuGet would refuse are not signed', () => {
  const refuses = async (bytes: Buffer, code: string, more: Partial<SignOptions> = {}): Promise<void> =>
    assert.rejects(async () => signProgram(await open(bytes), options(more)), { code });

  it('nuget-key: with a key that is not RSA', async () => {
    const other = await createTestPki({ key: 'p256', intermediate: false });
    await refuses(buildNuget(), 'nuget-key', { key: testSigningKey(other.codeSigning) });
  });

  it('nuget-key: with a certificate that is signed with another algorithm than RSA', async () => {
    const issuer = await createTestCertificate({ commonName: 'EC authority', purpose: 'authority' });
    const identity = await createTestCertificate({
      commonName: 'Publisher',
      purpose: 'code-signing',
      issuer,
      key: pki.codeSigning.key,
    });
    await refuses(buildNuget(), 'nuget-key', { key: testSigningKey(identity) });
  });

  it('nuget-manifest: with several manifests', () =>
    refuses(forge([...nugetEntries(''), { name: 'Other.nuspec', content: 'x' }]), 'nuget-manifest'));

  it('nuget-zip64: in the zip64 format', async () => {
    const plain = buildNuget();
    const end = plain.length - 22;
    const [size, offset] = [plain.readUInt32LE(end + 12), plain.readUInt32LE(end + 16)];
    const wide = Buffer.concat([plain.subarray(0, end), zip64End(3, size, offset), plain.subarray(end)]);
    wide.fill(0xff, wide.length - 14, wide.length - 2);
    await refuses(wide, 'nuget-zip64');
  });
});

describe('NuGet packages that are refused, or bad', () => {
  /** A signed package whose signature entry is another. */
  const entry = (more: Partial<Forged>): Buffer => forge([...nugetEntries('one'), plainEntry(more)]);
  const plainEntry = ({ local, central, ...more }: Partial<Forged>): Forged => ({
    ...{ name: '.signature.p7s', content: cms, method: 0, flags: 0, attributes: 0 },
    ...more,
    // The time of signing.
    local: (header) => {
      header.writeUInt32LE(0x5cae6651, 10);
      local?.(header);
    },
    central: (header) => {
      header.writeUInt32LE(0x5cae6651, 12);
      central?.(header);
    },
  });
  /** The signature with other bytes at the first place of some. */
  const edited = async (find: Buffer | string, put: Buffer | string): Promise<Buffer> => {
    const [from, to] = [Buffer.from(find as string), Buffer.from(put as string)];
    const place = cms.indexOf(from);
    assert.ok(place > 0 && from.length === to.length, `nothing to change: ${from.toString('hex')}`);
    const changed = Buffer.concat([cms.subarray(0, place), to, cms.subarray(place + from.length)]);
    return withSignature(changed);
  };
  const der = (type: string): Buffer => oid(type);

  const cases: Record<string, [code: string, make: () => Buffer | Promise<Buffer>]> = {
    'a name in another case': ['nuget-signature-entry', () => entry({ name: '.SIGNATURE.p7s' })],
    'a compressed signature': ['nuget-signature-entry', () => entry({ method: 8 })],
    'an empty signature': ['nuget-signature-entry', () => entry({ content: '' })],
    'a signature of more than a megabyte': [
      'nuget-signature-entry',
      () => entry({ content: Buffer.alloc(1024 * 1024 + 1) }),
    ],
    'a descriptor behind the signature': ['nuget-signature-entry', () => entry({ flags: 8 })],
    'two signatures': [
      'zip-entry-duplicate',
      () => forge([...nugetEntries(''), ...[1, 2].map(() => plainEntry({}))]),
    ],
    'a signature that is no DER': ['der-malformed', () => entry({ content: 'signature' })],
    'a signature that is cut off': ['der-malformed', () => entry({ content: cms.subarray(0, -1) })],
    'a byte behind the signature': [
      'der-malformed',
      () => entry({ content: Buffer.concat([cms, Buffer.alloc(1)]) }),
    ],
    'zeros behind the signature': [
      'der-malformed',
      () => entry({ content: Buffer.concat([cms, Buffer.alloc(8)]) }),
    ],
    'a comment at the signature': ['nuget-entry-headers', () => entry({ comment: 'x' })],
    'an extra field at the signature': [
      'nuget-entry-headers',
      () => entry({ localExtra: extra(0x9999, Buffer.from('message')) }),
    ],
    'an extra field at the signature, in the directory': [
      'nuget-entry-headers',
      () => entry({ centralExtra: extra(0x9999, Buffer.from('message')) }),
    ],
    'a flag, which NuGet refuses': ['nuget-signature-entry', () => entry({ flags: 0x800 })],
    'the mode of a plain file, which NuGet refuses': [
      'nuget-entry-headers',
      () => entry({ attributes: 0o100644 * 0x10000 }),
    ],
    'other attributes': ['nuget-entry-headers', () => entry({ attributes: 0x12345678 })],
    'another host': ['nuget-entry-headers', () => entry({ central: (h) => void h.writeUInt16LE(0x0714, 4) })],
    'internal attributes': [
      'nuget-entry-headers',
      () => entry({ central: (h) => void h.writeUInt16LE(7, 36) }),
    ],
    'times that differ': [
      'nuget-entry-headers',
      () => entry({ central: (h) => void h.writeUInt16LE(77, 12) }),
    ],
    'the time of another day': [
      'nuget-entry-time',
      () =>
        entry({
          local: (h) => void h.writeUInt32LE(0x5c000000, 10),
          central: (h) => void h.writeUInt32LE(0x5c000000, 12),
        }),
    ],
    'a time that does not exist': [
      'nuget-entry-time',
      () => entry({ local: (h) => void h.writeUInt32LE(0, 10), central: (h) => void h.writeUInt32LE(0, 12) }),
    ],
    'content of another version': ['nuget-content', () => edited('Version:1', 'Version:2')],
    'content without an empty line': ['nuget-content', () => edited('Version:1\n\n', 'Version:1\n-')],
    'content with another name': ['nuget-content', () => edited('-Hash:', '-Hesh:')],
    'an unknown digest algorithm': ['cms-digest-unknown', () => edited('.2.1-Hash', '.2.9-Hash')],
    'a digest of another length': ['authenticode-digest-length', () => edited('.2.1-Hash', '.2.3-Hash')],
    'content of another type': ['nuget-content', () => edited(der(OID.data), der('1.2.840.113549.1.7.5'))],
    'a commitment that NuGet does not know': [
      'nuget-signature-type',
      () => edited(der(OID.proofOfOrigin), der('1.2.840.113549.1.9.16.6.5')),
    ],
    'no commitment': [
      'nuget-signature-type',
      () => edited(der(OID.commitmentType), der('1.2.840.113549.1.9.16.2.99')),
    ],
    'no signing time': [
      'nuget-signing-time',
      () => edited(der(OID.signingTime), der('1.2.840.113549.1.9.99')),
    ],
    'no name of its certificate': [
      'nuget-signing-certificate',
      () => edited(der(OID.signingCertificateV2), der('1.2.840.113549.1.9.16.2.99')),
    ],
    'the name of another certificate': [
      'nuget-signing-certificate',
      () => {
        const named = createHash('sha256').update(pki.codeSigning.certificate.raw).digest();
        return edited(named, Buffer.alloc(32, 1));
      },
    ],
    'an unknown unsigned attribute': [
      'signature-attribute-unknown',
      () => withSignature(withUnsignedAttributes(cms, [attribute('1.2.3', octets(Buffer.from('x')))], 'it')),
    ],
    'a nested Authenticode signature': [
      'signature-attribute-unknown',
      () => withSignature(withUnsignedAttributes(cms, [attribute(OID.spcNestedSignature, cms)], 'it')),
    ],
    'Microsoft’s attribute for timestamps': [
      'signature-attribute-unknown',
      () => withSignature(withUnsignedAttributes(cms, [attribute(OID.spcTimestampToken, cms)], 'it')),
    ],
    'a timestamp that is none': [
      'timestamp-malformed',
      () => withSignature(withUnsignedAttributes(cms, [attribute(OID.timestampToken, cms)], 'it')),
    ],
    'a file that was added': [
      'file-digest-differs',
      () => forge([...nugetEntries('one'), { name: 'b', content: 'x' }, plainEntry({})]),
    ],
  };

  for (const [what, [code, make]] of Object.entries(cases))
    it(`${code}: ${what}`, async () => {
      const bytes = await make();
      const found = await open(bytes).then(
        async (file) => codes(await verifySignableFile(file)),
        (error: { code?: string }) => [error.code],
      );
      assert.ok(found.includes(code), `found ${found.join(', ')}`);
    });

  it('is refused wherever it is cut off', async () => {
    for (let length = 1; length < signed.length; length += 97)
      await assert.rejects(async () => {
        const report = await verifySignableFile(await open(signed.subarray(0, length)));
        if (report.status !== 'intact') throw Object.assign(new Error(report.status), { code: 'bad' });
      });
  });
});

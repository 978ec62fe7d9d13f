import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { children, context, parseDer } from '../../../src/lib/asn1/der.ts';
import { implicit, NULL, octets, oid, seq, set, sorted, tlv } from '../../../src/lib/asn1/encode-der.ts';
import { addNested, parseSignature } from '../../../src/engine/authenticode/signature.ts';
import { signProgram, type SignOptions } from '../../../src/engine/authenticode/sign.ts';
import { proveOnlySignatureAdded } from '../../../src/engine/authenticode/only-signature-added.ts';
import { openSignableFile } from '../../../src/engine/formats/recognize.ts';
import { attribute } from '../../../src/lib/cms/build-signed-data.ts';
import { signedDataFields } from '../../../src/lib/cms/signed-data.ts';
import {
  createTestCertificate,
  createTestPki,
  testSigningKey,
  type TestPki,
} from '../../../src/sandbox/certificates.ts';
import { buildPe, filler, peChecksum, peLayout, winCertificate, type PeOptions } from '../../fixtures/pe.ts';
import {
  bytesOf,
  findingsIn,
  openBytes,
  OpensslTimestamper,
  osslsigncodeVerify,
  SIGNATURE_OK,
  source,
} from './tools.ts';

let pki: TestPki;
let timestamper: OpensslTimestamper;
before(async () => {
  pki = await createTestPki({ key: 'p256', intermediate: true });
  timestamper = new OpensslTimestamper(pki.timestamping);
});

const SECTIONS = [
  { name: '.text', data: filler(600) },
  { name: '.data', data: filler(100, 2) },
];
const PROGRAM: PeOptions = { sections: SECTIONS, overlay: filler(13, 3) };
const AT = peLayout(PROGRAM);
const ORIGINAL = buildPe(PROGRAM);
const BODY = ORIGINAL.length + 3;

const sign = async (bytes: Buffer, options: Partial<SignOptions> = {}): Promise<Buffer> => {
  const key = testSigningKey(pki.codeSigning);
  return bytesOf((await signProgram(await openBytes(bytes), { key, timestamper, ...options })).content);
};

const signatureOf = async (bytes: Buffer): Promise<Buffer> =>
  (await openBytes(bytes)).signatures[0] ?? assert.fail();

/** The signed file with another signature, its checksum right. */
const withSignature = async (signed: Buffer, signature: Buffer): Promise<Buffer> =>
  bytesOf(await (await openBytes(signed)).embed(signature));

/** A copy with one byte changed, its checksum right again. */
function altered(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[at] = (copy[at] ?? 0) ^ 0xff;
  copy.writeUInt32LE(peChecksum(copy, AT), AT.checksum);
  return copy;
}

const prove = async (original: Buffer, signed: Buffer): Promise<Buffer> =>
  proveOnlySignatureAdded(
    await openSignableFile(source(original, 'original.exe')),
    await openSignableFile(source(signed, 'signed.exe')),
  );

describe('the proof that only a signature was added', () => {
  it('succeeds for a signed file, whatever its length modulo 8', async () => {
    for (let extra = 0; extra < 8; extra++) {
      const original = buildPe({ ...PROGRAM, overlay: filler(extra) });
      await prove(original, await sign(original));
    }
  });

  it('succeeds if the signature of the original was replaced', async () => {
    const signed = await sign(ORIGINAL);
    await prove(signed, await sign(signed, { existing: 'replace' }));
  });

  it('succeeds if one more signature was nested in that of the original', async () => {
    const signed = await sign(ORIGINAL);
    await prove(signed, await sign(signed, { existing: 'append' }));
  });

  it('succeeds if the checksum was left as it was', async () => {
    const signed = await sign(ORIGINAL);
    signed.writeUInt32LE(ORIGINAL.readUInt32LE(AT.checksum), AT.checksum);
    await prove(ORIGINAL, signed);
  });

  it('strip-not-signed: no signature', async () => {
    await assert.rejects(prove(ORIGINAL, ORIGINAL), { code: 'strip-not-signed' });
  });

  it('strip-no-new-signature: only the one that the original had', async () => {
    const signed = await sign(ORIGINAL);
    await assert.rejects(prove(signed, signed), { code: 'strip-no-new-signature' });
  });

  const places: readonly (readonly [where: RegExp, offset: number])[] = [
    [/in the DOS header, byte 0x2 \(byte 2 of the file\)/, 2],
    [/in the DOS stub/, 0x50],
    [/in the PE header/, AT.header + 8],
    [/in the PE header/, AT.checksum + 4],
    [/in the PE header/, AT.certificateEntry - 1],
    [/in the section \.text, byte 0x10 \(byte 528 of the file\) 0x[0-9a-f]{2} became 0x/, 0x210],
    [/in the section \.data, byte 0x0/, 0x600],
    [/in the overlay, byte 0xc/, 0x800 + 12],
  ];
  for (const [where, offset] of places)
    it(`strip-body-differs: ${where.source}`, async () => {
      const signed = altered(await sign(ORIGINAL), offset);
      await assert.rejects(prove(ORIGINAL, signed), { code: 'strip-body-differs', message: where });
    });

  it('strip-body-differs: in a later mebibyte', async () => {
    const original = buildPe({ overlay: filler(3 * 1024 * 1024) });
    const signed = altered(await sign(original), 2 * 1024 * 1024);
    await assert.rejects(prove(original, signed), { code: 'strip-body-differs', message: /byte 2097152 of/ });
  });

  it('strip-length-differs: bytes added before the signature, or gone', async () => {
    const longer = await sign(Buffer.concat([ORIGINAL, filler(8)]));
    await assert.rejects(prove(ORIGINAL, longer), { code: 'strip-length-differs' });
    const shorter = await sign(ORIGINAL.subarray(0, -8));
    await assert.rejects(prove(ORIGINAL, shorter), { code: 'strip-length-differs' });
  });

  it('strip-padding: something in the padding before the signature', async () => {
    const signed = altered(await sign(ORIGINAL), BODY - 1);
    await assert.rejects(prove(ORIGINAL, signed), { code: 'strip-padding' });
  });

  it('strip-checksum: something else in the checksum field', async () => {
    const signed = await sign(ORIGINAL);
    signed.write('boo!', AT.checksum, 'latin1');
    await assert.rejects(prove(ORIGINAL, signed), { code: 'strip-checksum' });
  });

  it('strip-signature-differs: the old signature lost its timestamp, or what was nested in it', async () => {
    const first = await sign(ORIGINAL);
    const added = await signatureOf(await sign(ORIGINAL, { hash: 'sha512' }));
    const bare = editSigner(await signatureOf(first), (attributes) => attributes.slice(1));
    const unstamped = await withSignature(first, addNested(bare, added, 'it'));
    await assert.rejects(prove(first, unstamped), { code: 'strip-signature-differs' });
    const second = await sign(first, { existing: 'append' });
    const swapped = await withSignature(first, addNested(await signatureOf(first), added, 'it'));
    await assert.rejects(prove(second, swapped), { code: 'strip-signature-differs' });
    await assert.rejects(prove(second, first), { code: 'strip-signature-differs' });
  });

  it('strip-signature-differs: one of two in the certificate table was appended to, the other is lost', async () => {
    const first = await sign(ORIGINAL);
    const entry = winCertificate(await signatureOf(first));
    const two = buildPe({ ...PROGRAM, certificates: Buffer.concat([entry, entry]) });
    const appended = await sign(first, { existing: 'append' });
    await assert.rejects(prove(two, appended), { code: 'strip-signature-differs' });
  });

  it('strip-several-signatures: another one nested in the added one, if the original had none', async () => {
    const signed = await sign(ORIGINAL);
    const another = await signatureOf(await sign(ORIGINAL, { hash: 'sha512' }));
    const two = await withSignature(signed, addNested(await signatureOf(signed), another, 'it'));
    await assert.rejects(prove(ORIGINAL, two), { code: 'strip-several-signatures' });
  });

  it('strip-several-signatures: two in the table of a UEFI program, if the original had none', async () => {
    const efi = { ...PROGRAM, subsystem: 'efi' } as const;
    const original = buildPe(efi);
    const entries = [await sign(original), await sign(original)].map(async (each) =>
      winCertificate(await signatureOf(each)),
    );
    const certificates = Buffer.concat(await Promise.all(entries));
    const two = buildPe({ ...efi, certificates, checksum: 'right' });
    await assert.rejects(prove(original, two), { code: 'strip-several-signatures' });
  });

  it('strip-signature-differs: two nested in the original, or one nested in the nested one', async () => {
    const first = await sign(ORIGINAL);
    const [one, other] = [await sign(ORIGINAL), await sign(ORIGINAL, { hash: 'sha384' })];
    const both = addNested(
      addNested(await signatureOf(first), await signatureOf(one), 'it'),
      await signatureOf(other),
      'it',
    );
    await assert.rejects(prove(first, await withSignature(first, both)), { code: 'strip-signature-differs' });
    const deep = addNested(await signatureOf(one), await signatureOf(other), 'it');
    const nested = await withSignature(first, addNested(await signatureOf(first), deep, 'it'));
    await assert.rejects(prove(first, nested), { code: 'strip-signature-differs' });
    await assert.rejects(prove(first, await withSignature(first, deep)), { code: 'strip-signature-differs' });
  });

  it('succeeds if a UEFI program got another entry in its table', async () => {
    const efi = { ...PROGRAM, subsystem: 'efi' } as const;
    const entries = [await sign(buildPe(efi)), await sign(buildPe(efi))].map(async (each) =>
      winCertificate(await signatureOf(each)),
    );
    const [first, second] = await Promise.all(entries);
    assert.ok(first && second);
    const one = buildPe({ ...efi, certificates: first, checksum: 'right' });
    const certificates = Buffer.concat([first, second]);
    await prove(one, buildPe({ ...efi, certificates, checksum: 'right' }));
    const swapped = Buffer.concat([second, first]);
    const other = buildPe({ ...efi, certificates: swapped, checksum: 'right' });
    await assert.rejects(prove(one, other), { code: 'strip-signature-differs' });
  });

  describe('for an RSA signature made again with the same key, which has the same value', () => {
    let rsa: TestPki;
    before(async () => {
      rsa = await createTestPki({ key: 'rsa2048' });
    });
    const again = (bytes: Buffer, options: Partial<SignOptions> = {}): Promise<Buffer> =>
      sign(bytes, { key: testSigningKey(rsa.codeSigning), existing: 'replace', ...options });

    it('succeeds if the timestamp is new', async () => {
      const untimestamped = await again(ORIGINAL, { timestamper: null });
      const stamped = await again(ORIGINAL);
      await prove(untimestamped, await again(untimestamped));
      await prove(stamped, await again(stamped));
    });

    it('strip-signature-differs: only the timestamp was removed', async () => {
      const stamped = await again(ORIGINAL);
      const bare = await again(stamped, { timestamper: null });
      await assert.rejects(prove(stamped, bare), { code: 'strip-signature-differs' });
    });

    it('strip-no-new-signature: nothing is new, unless the signer proves its own work', async () => {
      const signed = await again(ORIGINAL, { timestamper: null });
      const same = await again(signed, { timestamper: null });
      assert.deepEqual(same, signed);
      await assert.rejects(prove(signed, same), { code: 'strip-no-new-signature' });
      await proveOnlySignatureAdded(await openBytes(signed), await openBytes(same), { mayBeEqual: true });
    });
  });

  it('strip-untidy: bytes behind the signature in its table', async () => {
    const signed = await sign(ORIGINAL);
    const table = winCertificate(Buffer.concat([await signatureOf(signed), filler(40)]));
    const stuffed = buildPe({ ...PROGRAM, certificates: table, checksum: 'right' });
    await assert.rejects(prove(ORIGINAL, stuffed), { code: 'strip-untidy', message: /CVE-2013-3900/ });
  });

  it('strip-untidy: in a nested signature, too', async () => {
    const first = await sign(ORIGINAL);
    const stuffed = editSigner(await signatureOf(first), (all) => [...all, attribute('1.2.3', NULL)]);
    const signed = await withSignature(first, addNested(await signatureOf(first), stuffed, 'it'));
    await assert.rejects(prove(first, signed), { code: 'strip-untidy', message: /1\.2\.3/ });
  });
});

type Edit = (unsignedAttributes: Buffer[]) => Buffer[];

/** The signature with other unsigned attributes. */
function editSigner(signature: Buffer, edit: Edit): Buffer {
  const { type, data, signer } = signedDataFields(signature, 'it');
  const unsigned = signer.find(({ tag }) => tag === context(1));
  const attributes = edit((unsigned ? children(unsigned, 'it') : []).map(({ raw }) => raw));
  const kept = signer.filter(({ tag }) => tag !== context(1)).map(({ raw }) => raw);
  return assemble(
    type.raw,
    data.map(({ raw }) => raw),
    seq(...kept, tlv(context(1), ...sorted(attributes))),
  );
}

const assemble = (type: Buffer, data: readonly Buffer[], signer: Buffer): Buffer =>
  seq(type, tlv(context(0), seq(...data, set(signer))));

/** The signature with other components of SignedData, except the SignerInfos. */
function editData(signature: Buffer, edit: (data: Buffer[]) => Buffer[]): Buffer {
  const { type, data, signer } = signedDataFields(signature, 'it');
  return assemble(type.raw, edit(data.map(({ raw }) => raw)), seq(...signer.map(({ raw }) => raw)));
}

/** The signature with one certificate more. */
const addCertificate = (signature: Buffer, added: Buffer): Buffer =>
  editData(signature, (data) => {
    const all = children(parseDer(data[3] ?? assert.fail(), 'it'), 'it').map(({ raw }) => raw);
    return data.with(3, tlv(context(0), ...sorted([...all, added])));
  });

/** The findings in the program with this signature. */
const codesWith = async (signature: Buffer): Promise<string[]> =>
  findingsIn(await openBytes(await withSignature(ORIGINAL, signature))).map(({ code }) => code);

/** The findings in a signed file whose signature was edited and still verifies. */
async function found(edit: (signature: Buffer) => Buffer | Promise<Buffer>): Promise<string[]> {
  const signed = await sign(ORIGINAL);
  const edited = await withSignature(signed, await edit(await signatureOf(signed)));
  // These places are dangerous because the signature still verifies.
  assert.match(await osslsigncodeVerify(edited, pki.root), SIGNATURE_OK);
  return findingsIn(await openBytes(edited)).map(({ code }) => code);
}

async function isFound(code: string, edit: Parameters<typeof found>[0]): Promise<void> {
  assert.deepEqual(await found(edit), [code]);
}

describe('unauthenticated data', () => {
  it('is not found in a file without a signature, nor in one that was signed plainly', async () => {
    assert.deepEqual(findingsIn(await openBytes(ORIGINAL)), []);
    assert.deepEqual(await found((signature) => signature), []);
    assert.deepEqual(await found((signature) => addNested(signature, signature, 'it')), []);
  });

  it('signature-attribute-unknown: an unsigned attribute without a known meaning', async () => {
    const blob = attribute('1.3.6.1.4.1.42921.1.2.1', octets(filler(500)));
    await isFound('signature-attribute-unknown', (der) => editSigner(der, (all) => [...all, blob]));
  });

  it('signature-attribute-unknown: inside a timestamp', async () => {
    await isFound('signature-attribute-unknown', (der) => {
      const [token] = parseSignature(der, 'it').timestamps;
      const stuffed = editSigner(token ?? assert.fail(), (all) => [...all, attribute('1.2.3', NULL)]);
      return editSigner(der, () => [attribute('1.3.6.1.4.1.311.3.3.1', stuffed)]);
    });
  });

  it('timestamp-several: more than one', async () => {
    await isFound('timestamp-several', async (der) => {
      const [token] = parseSignature(der, 'it').timestamps;
      const [other] = parseSignature(await signatureOf(await sign(ORIGINAL)), 'it').timestamps;
      const both = attribute('1.3.6.1.4.1.311.3.3.1', token ?? assert.fail(), other ?? assert.fail());
      return editSigner(der, () => [both]);
    });
  });

  it('signature-nested-deep: a signature in a signature in a signature', async () => {
    await isFound('signature-nested-deep', (der) => addNested(der, addNested(der, der, 'it'), 'it'));
  });

  it('signature-certificate: one that leads nowhere', async () => {
    const stranger = await createTestCertificate({ commonName: 'Nobody', purpose: 'authority' });
    await isFound('signature-certificate', (der) => addCertificate(der, stranger.certificate.raw));
  });

  it('signature-certificate: one that only has the name of the signer', async () => {
    const double = await createTestCertificate({ commonName: 'Test publisher', purpose: 'code-signing' });
    await isFound('signature-certificate', (der) => addCertificate(der, double.certificate.raw));
  });

  it('signature-certificate: something that is not a certificate', async () => {
    const signed = await signatureOf(await sign(ORIGINAL));
    const stuffed = addCertificate(signed, implicit(2, seq(octets(filler(40)))));
    assert.deepEqual(await codesWith(stuffed), ['signature-certificate']);
  });

  it('signature-digests: more digests than are used', async () => {
    const both = set(seq(oid('2.16.840.1.101.3.4.2.1'), NULL), seq(oid('2.16.840.1.101.3.4.2.3'), NULL));
    await isFound('signature-digests', (der) => editData(der, (data) => data.with(1, both)));
  });

  it('signature-parameters: bytes where SHA-256 has no parameters', async () => {
    const stuffed = set(seq(oid('2.16.840.1.101.3.4.2.1'), octets(filler(40))));
    await isFound('signature-parameters', (der) => editData(der, (data) => data.with(1, stuffed)));
  });

  it('signature-parameters: a curve beside the algorithm of a key, which no verifier reads', async () => {
    const signature = await signatureOf(await sign(ORIGINAL));
    const { type, data, signer } = signedDataFields(signature, 'it');
    const fields = signer.map(({ raw }) => raw);
    const named = seq(oid('1.2.840.10045.2.1'), oid('1.2.840.10045.3.1.7'));
    const whole = assemble(
      type.raw,
      data.map(({ raw }) => raw),
      seq(...fields.with(4, named)),
    );
    assert.deepEqual(await codesWith(whole), ['signature-parameters']);
  });

  it('timestamp-malformed: a token with two signers', async () => {
    await isFound('timestamp-malformed', (der) => {
      const [token] = parseSignature(der, 'it').timestamps;
      const { type, data, signer } = signedDataFields(token ?? assert.fail(), 'it');
      const one = seq(...signer.map(({ raw }) => raw));
      const two = tlv(context(0), seq(...data.map(({ raw }) => raw), set(one, one)));
      return editSigner(der, () => [attribute('1.3.6.1.4.1.311.3.3.1', seq(type.raw, two))]);
    });
  });

  it('signature-attribute-unknown, signature-parameters: in a counter-signature', async () => {
    const signed = await sign(ORIGINAL);
    const signature = await signatureOf(signed);
    const { signer } = signedDataFields(signature, 'it');
    const counter = (...fields: readonly Buffer[]): Buffer =>
      editSigner(signature, () => [attribute('1.2.840.113549.1.9.6', seq(...fields))]);
    const plain = signer.slice(0, 6).map(({ raw }) => raw);
    assert.deepEqual(await codesWith(counter(...plain)), []);
    const more = tlv(context(1), attribute('1.2.3', NULL));
    assert.deepEqual(await codesWith(counter(...plain, more)), ['signature-attribute-unknown']);
    const stuffed = plain.with(2, seq(oid('2.16.840.1.101.3.4.2.1'), octets(filler(40))));
    assert.deepEqual(await codesWith(counter(...stuffed)), ['signature-parameters']);
  });

  it('signature-crls: revocation lists, or other data in their place', async () => {
    const signature = await signatureOf(await sign(ORIGINAL));
    const stuffed = editData(signature, (data) => [...data, implicit(1, seq(octets(filler(40))))]);
    const signed = await withSignature(ORIGINAL, stuffed);
    assert.deepEqual(
      findingsIn(await openBytes(signed)).map(({ code }) => code),
      ['signature-crls'],
    );
  });
});

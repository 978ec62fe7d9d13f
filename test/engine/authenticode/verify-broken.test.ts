import assert from 'node:assert/strict';
import { constants, createHash, generateKeyPairSync, privateEncrypt, sign } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import {
  bitString,
  bmp,
  explicit,
  generalizedTime,
  integer,
  NULL,
  octets,
  oid,
  seq,
  set,
  sorted,
  tlv,
} from '../../../src/lib/asn1/encode-der.ts';
import { children, context, parseDer, TAG, type Der } from '../../../src/lib/asn1/der.ts';
import { OID, type DigestName } from '../../../src/lib/asn1/oids.ts';
import { describeReport } from '../../../src/engine/authenticode/report-text.ts';
import type { VerifyReport } from '../../../src/engine/authenticode/report.ts';
import { addNested, parseSignature } from '../../../src/engine/authenticode/signature.ts';
import { attribute, baseAttributes } from '../../../src/lib/cms/build-signed-data.ts';
import { signedDataFields } from '../../../src/lib/cms/signed-data.ts';
import {
  makeAuthority,
  makeCertificate,
  makeCodeSigner,
  makeTimestamper,
  type Made,
  type Recipe,
} from '../../lib/x509/certificate-maker.ts';
import { peChecksum, peLayout, winCertificate } from '../../fixtures/pe.ts';
import { SIGNATURE_OK, tool, inFolder } from './tools.ts';
import {
  addTimestamp,
  codes,
  edited,
  middle,
  only,
  osslSigned,
  putSignerTogether,
  putTogether,
  redigest,
  resign,
  root,
  setSigned,
  signatureOf,
  signer,
  stamper,
  stamp,
  stampRoot,
  takeApart,
  trusting,
  unsigned,
  verify,
  withSignature,
  type Parts,
  type SignerParts,
} from './verify-maker.ts';

const good = await osslSigned();

const sha256 = seq(oid(OID.sha256), NULL);
const sha384 = seq(oid(OID.sha384), NULL);

/** The program with its signature changed has exactly this problem, with roots and without. */
function refuses(code: string, name: string, change: (parts: Parts) => void): void {
  it(`${code}: ${name}`, async () => {
    const program = await edited(good, change);
    for (const options of [{}, trusting]) {
      const report = await verify(program, options);
      assert.deepEqual(codes(report), [code]);
      assert.equal(report.status, 'bad');
      assert.notEqual(report.signatures[0]?.trusted, true);
    }
  });
}

/** The program with its signature changed is ok. */
async function isOk(change: (parts: Parts) => void): Promise<void> {
  assert.equal((await verify(await edited(good, change), trusting)).status, 'ok');
}

/** The program with these parts of its signature exchanged has exactly this problem. */
const refusesWith = (code: string, name: string, changed: Partial<Parts>): void =>
  refuses(code, name, (parts) => Object.assign(parts, changed));

/** The program with these parts of its SignerInfo exchanged has exactly this problem. */
const refusesSigner = (code: string, name: string, changed: Partial<SignerParts>): void =>
  refuses(code, name, (parts) => Object.assign(only(parts), changed));

/** The program has exactly this problem with these certificates added to its signature. */
const refusesBeside = (name: string, added: () => readonly Buffer[]): void =>
  refuses('signature-certificate', name, (parts) => parts.certificates.push(...added()));

/** The program, changed outside its signature, has exactly this problem. */
function refusesFile(code: string, name: string, change: (program: Buffer) => Buffer): void {
  it(`${code}: ${name}`, async () => {
    const report = await verify(change(Buffer.from(good)), trusting);
    assert.deepEqual(codes(report), [code]);
    assert.equal(report.status, 'bad');
  });
}

interface Content {
  readonly type?: string;
  readonly digest?: Buffer;
  readonly hash?: Buffer;
}

/** SpcIndirectDataContent with one of its two parts changed. */
function content(changes: Content = {}): Buffer {
  const { type = OID.spcPeImageData, digest = octets(Buffer.alloc(32)), hash = sha256 } = changes;
  const file = explicit(0, tlv(0xa2, tlv(0x80)));
  return seq(seq(oid(type), seq(tlv(0x03, Buffer.from([0])), file)), seq(hash, digest));
}

const good256 = await edited(good, addTimestamp);
const nestable = await signatureOf(good);

it('the good program is good, also once it is split and rebuilt', async () => {
  assert.deepEqual(await edited(good, () => {}), good);
  assert.equal((await verify(good, trusting)).status, 'ok');
});

describe('the file', () => {
  refusesFile('file-digest-differs', 'a byte of the program flipped', (program) => {
    const at = peLayout().sectionTable + 0x200;
    program.writeUInt8(program.readUInt8(at) ^ 1, at);
    return program;
  });
  refusesFile('file-digest-differs', 'a byte of the headers flipped', (program) => {
    const at = peLayout().header + 8;
    program.writeUInt8(program.readUInt8(at) ^ 1, at);
    return program;
  });
  refusesFile('checksum-differs', 'something else in CheckSum, which no digest covers', (program) => {
    program.writeUInt32LE(0x12345678, peLayout().checksum);
    assert.notEqual(program.readUInt32LE(peLayout().checksum), peChecksum(program));
    return program;
  });
  it('is ok with no checksum, or with that of the unsigned program, which some signers keep', async () => {
    for (const checksum of [0, unsigned().readUInt32LE(peLayout().checksum)]) {
      const program = Buffer.from(good);
      program.writeUInt32LE(checksum, peLayout().checksum);
      assert.notEqual(peChecksum(program), checksum);
      assert.equal((await verify(program, trusting)).status, 'ok');
    }
  });
  refusesFile('pe-table-out-of-range', 'cut short', (program) => program.subarray(0, program.length - 16));
  refusesFile('pe-table-not-at-end', 'bytes appended to it', (program) =>
    Buffer.concat([program, Buffer.alloc(8)]),
  );
});

/** The good program with these bytes for its whole certificate table. */
const withTable = (entries: Buffer): Buffer => {
  const program = Buffer.from(good);
  const at = peLayout().certificateEntry;
  const start = program.readUInt32LE(at);
  program.writeUInt32LE(entries.length, at + 4);
  return Buffer.concat([program.subarray(0, start), entries]);
};

const refusesTable = (code: string, name: string, make: (signature: Buffer) => Buffer): void => {
  it(`${code}: ${name}`, async () => {
    const program = withTable(make(await signatureOf(good)));
    const report = await verify(program, trusting);
    assert.deepEqual(codes(report), [code]);
    assert.equal(report.status, 'bad');
  });
};

describe('the certificate table', () => {
  refusesTable(
    'table-trailing-bytes',
    'bytes smuggled in behind the signature (CVE-2013-3900)',
    (signature) => winCertificate(Buffer.concat([signature, Buffer.from('smuggled')])),
  );
  refusesTable('table-trailing-bytes', 'even zeros, if they are more than padding', (signature) =>
    winCertificate(Buffer.concat([signature, Buffer.alloc(16)])),
  );
  const shortened = (signature: Buffer, by: number): Buffer => {
    const entry = winCertificate(signature);
    entry.writeUInt32LE(8 + signature.length - by, 0);
    return entry;
  };
  for (const by of [1, 2, 7])
    refusesTable('pe-table-corrupt', `dwLength ${by} bytes too short for its signature`, (signature) =>
      shortened(signature, by),
    );
  refusesTable('pe-table-corrupt', 'dwLength that does not reach the signature', (signature) =>
    shortened(signature, signature.length),
  );
  refusesTable('table-several-entries', 'a second entry', (signature) =>
    Buffer.concat([winCertificate(signature), winCertificate(signature)]),
  );
  refusesTable('pe-table-corrupt', 'a signature in BER: an indefinite length', (signature) => {
    const body = parseDer(signature, 'test').body;
    return winCertificate(Buffer.concat([Buffer.from([0x30, 0x80]), body, Buffer.alloc(2)]));
  });
  refusesTable('pe-table-corrupt', 'a signature cut short', (signature) =>
    winCertificate(signature.subarray(0, signature.length - 20)),
  );
  refusesTable('pe-table-foreign', 'an entry of another type', (signature) =>
    winCertificate(signature, { type: 1 }),
  );
});

describe('the structure', () => {
  it('is ok with SignedData of version 3, as CMS specifies, with a note', async () => {
    const program = await edited(good, (parts) => {
      parts.version = integer(3);
    });
    const report = await verify(program, trusting);
    assert.equal(report.status, 'ok');
    const ofStructure = ({ signatures: [first] }: VerifyReport): (string | undefined)[] =>
      (first?.notes ?? []).map(({ code }) => code).filter((code) => !code.startsWith('certificate-'));
    assert.deepEqual(ofStructure(report), ['signed-data-version']);
    assert.match(describeReport(report), /^ {4}note +SignedData has version 3/m);
    assert.deepEqual(ofStructure(await verify(good, trusting)), []);
  });
  for (const version of [0, 2, 4])
    refusesWith('authenticode-version', `SignedData of version ${version}`, { version: integer(version) });
  refusesWith('authenticode-content', 'content of another type', { contentType: OID.data });
  refusesWith('authenticode-kind', 'signed for another kind of file', {
    content: content({ type: '1.3.6.1.4.1.311.2.1.30' }),
  });
  refusesWith('authenticode-signers', 'no signer', { signers: [] });
  refuses('authenticode-signers', 'two signers', (parts) => parts.signers.push(only(parts)));
  refusesSigner('authenticode-version', 'a SignerInfo of version 3', { version: integer(3) });
  refusesSigner('authenticode-attributes-missing', 'no signed attributes', { signed: [] });
  refuses('authenticode-attributes-unsorted', 'signed attributes that are not a DER SET OF', (parts) => {
    only(parts).signed.reverse();
    resign(parts);
  });
  refusesWith('authenticode-digest-mixed', 'SignedData names another digest', { digestAlgorithms: [sha384] });
  refusesWith('authenticode-digest-mixed', 'SignedData names two digests', {
    digestAlgorithms: [sha256, sha384],
  });
  refuses('authenticode-digest-mixed', 'the signer uses another digest', (parts) => {
    only(parts).digestAlgorithm = sha384;
    redigest(parts, 'sha384');
    resign(parts, signer.key, 'sha384');
  });
  refuses('authenticode-digest-mixed', 'the content uses another digest', (parts) => {
    parts.content = content({ hash: sha384, digest: octets(Buffer.alloc(48)) });
    redigest(parts);
    resign(parts);
  });
  refusesWith('authenticode-digest-length', 'a digest of the wrong length', {
    content: content({ digest: octets(Buffer.alloc(20)) }),
  });
  refusesSigner('cms-digest-unknown', 'an unknown digest', { digestAlgorithm: seq(oid('2.25.42'), NULL) });
  refuses('cms-attribute-repeated', 'SpcSpOpusInfo twice', (parts) => {
    const opus = attribute(OID.spcSpOpusInfo, seq());
    only(parts).signed = sorted([...only(parts).signed, opus, opus]);
    resign(parts);
  });
  refuses('der-malformed', 'a length in more octets than needed (BER)', (parts) => {
    const body = parseDer(parts.content, 'test').body;
    parts.content = Buffer.concat([Buffer.from([0x30, 0x82, 0, body.length]), body]);
  });
  refuses('der-malformed', 'an additional value in the content', (parts) => {
    parts.content = seq(parseDer(parts.content, 'test').body, NULL);
  });
  refuses('der-malformed', 'a program name that is not an SpcString', (parts) => {
    setSigned(parts, OID.spcSpOpusInfo, seq(explicit(0, bmp('Blender'))));
    resign(parts);
  });
  refuses('certificate-malformed', 'something else in place of a certificate', (parts) => {
    parts.certificates.push(seq(integer(1)));
  });
});

describe('what is signed', () => {
  refuses('file-digest-differs', 'the content states another digest, and is signed correctly', (parts) => {
    parts.content = content();
    redigest(parts);
    resign(parts);
  });
  refuses('cms-message-digest', 'messageDigest of something else', (parts) => {
    setSigned(parts, OID.messageDigest, octets(Buffer.alloc(32)));
    resign(parts);
  });
  refuses('cms-message-digest', 'messageDigest with the tag and length of the content', (parts) => {
    setSigned(parts, OID.messageDigest, octets(createHash('sha256').update(parts.content).digest()));
    resign(parts);
  });
  refuses('cms-content-type', 'contentType names another type', (parts) => {
    setSigned(parts, OID.contentType, oid(OID.data));
    resign(parts);
  });
  refuses('cms-signature-wrong', 'an attribute changed after signing', (parts) => {
    setSigned(parts, OID.spcSpOpusInfo, seq());
  });
  refuses('cms-signature-wrong', 'a signature by another key', (parts) => resign(parts, middle.key));
  refusesSigner('cms-signature-wrong', 'something else in place of a signature', {
    signature: Buffer.alloc(70),
  });
  refusesSigner('cms-signature-algorithm', "an algorithm that is not the key's", {
    signatureAlgorithm: seq(oid(OID.rsaEncryption), NULL),
  });
  refuses('cms-signature-algorithm', "a signature algorithm whose digest is not the signer's", (parts) => {
    only(parts).signatureAlgorithm = seq(oid(OID.ecdsaWithSha384));
    resign(parts, signer.key, 'sha384');
  });
  refusesWith('signer-certificate-missing', "the signer's certificate is missing", {
    certificates: [middle.certificate.raw],
  });
});

const bySigner = (code: string, name: string, by: Made, options: Parameters<typeof verify>[1] = {}): void => {
  it(`${code}: ${name}`, async () => {
    const program = await edited(good, (parts) => {
      parts.certificates = [by.certificate.raw];
      if (!by.certificate.isSelfIssued) parts.certificates.push(middle.certificate.raw);
      only(parts).name = seq(by.certificate.issuerDer, by.certificate.serialDer);
      resign(parts, by.key);
    });
    const report = await verify(program, options);
    assert.deepEqual(codes(report), [code]);
    assert.equal(report.signatures[0]?.signer?.sha256, by.certificate.sha256);
  });
};

describe('the certificate', () => {
  const server = makeCodeSigner({ name: 'Web server', by: middle, purposes: ['1.3.6.1.5.5.7.3.1'] });
  bySigner('certificate-not-for-code-signing', 'for another purpose', server);
  const any = makeCertificate({ name: 'Anything', by: middle, usage: ['digitalSignature'] });
  bySigner('certificate-not-for-code-signing', 'for no purpose in particular', any);
  const cipher = makeCodeSigner({ name: 'Cipher', by: middle, usage: ['keyEncipherment'] });
  bySigner('certificate-not-for-code-signing', 'its key is not for signatures', cipher);
  const stranger = makeCodeSigner({ name: 'Stranger' });
  bySigner('certificate-chain-untrusted-root', 'whose root was not given', stranger, trusting);
  const forged = makeCodeSigner({ name: 'Forged', by: stranger, issuerName: middle.name });
  bySigner('certificate-chain-signature', 'that names an issuer who did not sign it', forged, trusting);
  it('certificate-chain-incomplete: the intermediate is missing', async () => {
    const program = await edited(good, (parts) => {
      parts.certificates = [signer.certificate.raw];
    });
    assert.deepEqual(codes(await verify(program, trusting)), ['certificate-chain-incomplete']);
  });
  it('is not helped by a root in the file', async () => {
    const program = await edited(good, (parts) => parts.certificates.push(root.certificate.raw));
    const report = await verify(program, { roots: [stampRoot.certificate] });
    assert.deepEqual(codes(report), ['certificate-chain-untrusted-root']);
  });
});

describe('the timestamp', () => {
  it('timestamp-missing: if one is required', async () => {
    const report = await verify(good, { ...trusting, requireTimestamp: true });
    assert.deepEqual(codes(report), ['timestamp-missing']);
  });
  refuses('timestamp-imprint', 'over something else than this signature', (parts) => {
    const { signature } = only(parts);
    only(parts).signature = Buffer.from('another signature');
    addTimestamp(parts);
    only(parts).signature = signature;
  });
  refuses('timestamp-signature', 'its signature is broken', (parts) => {
    addTimestamp(parts);
    const [token] = only(parts).unsigned;
    assert.ok(token);
    const at = token.length - 1;
    token.writeUInt8(token.readUInt8(at) ^ 1, at);
  });
  const noPurpose = makeTimestamper({ name: 'No purpose', by: stampRoot, purposes: [OID.codeSigning] });
  refuses('timestamp-certificate', 'its authority may not timestamp', (parts) =>
    addTimestamp(parts, { by: noPurpose }),
  );
  const twoPurposes = makeTimestamper({
    name: 'Two purposes',
    by: stampRoot,
    purposes: [OID.timeStamping, OID.codeSigning],
  });
  refuses('timestamp-certificate', 'its authority has other purposes besides', (parts) =>
    addTimestamp(parts, { by: twoPurposes }),
  );
  const expired = makeTimestamper({
    name: 'Expired',
    by: stampRoot,
    from: new Date(Date.now() - 2e9),
    until: new Date(Date.now() - 1e9),
  });
  refuses('timestamp-certificate', "its authority's certificate had expired", (parts) =>
    addTimestamp(parts, { by: expired }),
  );
  refuses('timestamp-time', 'it is from the future', (parts) =>
    addTimestamp(parts, { time: new Date(Date.now() + 3600 * 1000) }),
  );
  refuses('timestamp-several', 'there are two', (parts) => {
    addTimestamp(parts);
    addTimestamp(parts);
  });
  it('certificate-chain-untrusted-root: the root of its authority was not given', async () => {
    const own = makeTimestamper({ name: 'Own clock' });
    const program = await edited(good, (parts) => addTimestamp(parts, { by: own }));
    const report = await verify(program, trusting);
    assert.deepEqual(codes(report), ['certificate-chain-untrusted-root']);
    assert.equal(report.signatures[0]?.timestamp?.trusted, false);
  });
  it('osslsigncode accepts a timestamp over the wrong data; this verifier does not', async () => {
    const program = await edited(good, (parts) => {
      const { signature } = only(parts);
      only(parts).signature = Buffer.from('another signature');
      addTimestamp(parts);
      only(parts).signature = signature;
    });
    assert.equal(await osslsigncodeAccepts(program), true);
    assert.deepEqual(codes(await verify(program, trusting)), ['timestamp-imprint']);
  });
});

/** The verdict of `osslsigncode verify` on the signature, with the right roots. */
const osslsigncodeAccepts = (program: Buffer): Promise<boolean> =>
  inFolder(async (folder) => {
    const [file, ca, tsa] = ['program.exe', 'ca.pem', 'tsa.pem'].map((name) => join(folder, name));
    assert.ok(file && ca && tsa);
    await writeFile(file, program);
    await writeFile(ca, root.certificate.x509.toString());
    await writeFile(tsa, stampRoot.certificate.x509.toString());
    const { text } = await tool('osslsigncode', 'verify', '-CAfile', ca, '-TSA-CAfile', tsa, file);
    return SIGNATURE_OK.test(text);
  });

describe('a legacy timestamp', () => {
  interface Legacy {
    readonly by?: Made;
    readonly over?: Buffer;
    readonly time?: Date | undefined;
    readonly certificate?: boolean;
    /** What the contentType attribute names; null for none. */
    readonly contentType?: string | null;
    readonly unsigned?: Buffer[];
    readonly sign?: (attributes: Buffer) => Buffer;
  }

  /** PKCS #9 countersignature: a SignerInfo over the signature value (RFC 2985 section 5.3.6). */
  function addLegacy(parts: Parts, options: Legacy = {}): void {
    const { by = stamper, over, time, certificate = true, contentType = OID.data } = options;
    const make = options.sign ?? ((signed: Buffer): Buffer => sign('sha256', signed, by.key.privateKey));
    const one = only(parts);
    const digest = createHash('sha256')
      .update(over ?? one.signature)
      .digest();
    const attributes = baseAttributes(contentType ?? OID.data, digest, time);
    const signed = set(...(contentType === null ? attributes.slice(1) : attributes));
    const rsa = by.key.privateKey.asymmetricKeyType === 'rsa';
    const counter = putSignerTogether({
      version: integer(1),
      name: seq(by.certificate.issuerDer, by.certificate.serialDer),
      digestAlgorithm: sha256,
      signed: [parseDer(signed, 'test').body],
      signatureAlgorithm: rsa ? seq(oid(OID.rsaEncryption), NULL) : seq(oid(OID.ecdsaWithSha256)),
      signature: make(signed),
      unsigned: options.unsigned ?? [],
    });
    one.unsigned = [...one.unsigned, attribute(OID.counterSignature, counter)];
    if (certificate) parts.certificates.push(by.certificate.raw);
  }

  it('is verified, and reported as legacy', async () => {
    const time = new Date('2026-03-01T12:00:00Z');
    const by = makeTimestamper({ name: 'Old clock', by: stampRoot, from: new Date('2026-01-01') });
    const long = makeCodeSigner({ name: 'Long', by: middle, from: new Date('2026-01-01') });
    const program = await edited(await osslSigned({ signer: long }), (parts) =>
      addLegacy(parts, { by, time }),
    );
    const report = await verify(program, { ...trusting, at: new Date('2026-04-01'), requireTimestamp: true });
    assert.deepEqual(codes(report), []);
    assert.equal(report.status, 'ok');
    assert.equal(report.signatures[0]?.timestamp?.kind, 'legacy');
    assert.equal(report.signatures[0].timestamp.time, time.toISOString());
    assert.equal(report.signatures[0].timestamp.trusted, true);
  });

  const now = new Date();
  refuses('timestamp-signature', 'over something else than this signature', (parts) =>
    addLegacy(parts, { over: Buffer.from('another signature'), time: now }),
  );
  refuses('timestamp-malformed', 'without a time', (parts) => addLegacy(parts));
  refuses('timestamp-certificate', "its authority's certificate is missing", (parts) =>
    addLegacy(parts, { time: now, certificate: false }),
  );
  refuses('timestamp-certificate', 'its authority may not timestamp', (parts) =>
    addLegacy(parts, { time: now, by: signer }),
  );
  refuses('timestamp-time', 'it is from the future', (parts) =>
    addLegacy(parts, { time: new Date(Date.now() + 3600 * 1000) }),
  );
  const accepts = (name: string, change: (parts: Parts) => void): void => {
    it(`may be ${name}`, async () => {
      const report = await verify(await edited(good, change), { ...trusting, requireTimestamp: true });
      assert.deepEqual(codes(report), []);
      assert.equal(report.status, 'ok');
    });
  };
  const key = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const rsa = makeTimestamper({ name: 'RSA clock', by: stampRoot, key });
  /** PKCS #1 v1.5 padding around any bytes, as VeriSign's authorities padded a digest without DigestInfo. */
  const padded = (content: Buffer): Buffer =>
    privateEncrypt({ key: key.privateKey, padding: constants.RSA_PKCS1_PADDING }, content);
  const digestOf = (signed: Buffer): Buffer => createHash('sha256').update(signed).digest();
  accepts('by an RSA key', (parts) => addLegacy(parts, { by: rsa, time: now }));
  accepts("over the bare digest, as VeriSign's and Symantec's are", (parts) =>
    addLegacy(parts, { by: rsa, time: now, sign: (signed) => padded(digestOf(signed)) }),
  );
  accepts("of the content type of a token, as Certum's are", (parts) =>
    addLegacy(parts, { time: now, contentType: OID.tstInfo }),
  );
  accepts('without a content type, as RFC 5652 wants it', (parts) =>
    addLegacy(parts, { time: now, contentType: null }),
  );
  refuses('timestamp-signature', 'of another content type', (parts) =>
    addLegacy(parts, { time: now, contentType: OID.signedData }),
  );
  for (const [name, content] of [
    ['another bare digest', () => digestOf(Buffer.from('something else'))],
    ['a part of the bare digest', (signed: Buffer) => digestOf(signed).subarray(0, 20)],
    ['the bare digest and more', (signed: Buffer) => Buffer.concat([digestOf(signed), Buffer.alloc(1)])],
    ['nothing', () => Buffer.alloc(0)],
  ] as const)
    refuses('timestamp-signature', `over ${name}`, (parts) =>
      addLegacy(parts, { by: rsa, time: now, sign: (signed) => padded(content(signed)) }),
    );
  refuses('signature-attribute-unknown', 'with unsigned attributes', (parts) =>
    addLegacy(parts, { time: now, unsigned: [attribute('1.2.3', NULL)] }),
  );
  refuses('timestamp-several', 'besides an RFC 3161 token', (parts) => {
    addLegacy(parts, { time: now });
    addTimestamp(parts);
  });
});

/** An AlgorithmIdentifier with bytes where its parameters would be. */
const withJunk = (algorithm: string): Buffer => seq(oid(algorithm), octets(Buffer.from('anything')));

/** A ContentInfo with `fields` put in before the SignerInfos of its SignedData. */
function insertBeforeSigners(contentInfo: Buffer, fields: Buffer): Buffer {
  const { type, data, signer: signerFields } = signedDataFields(contentInfo, 'test');
  const signers = set(seq(...signerFields.map(({ raw }) => raw)));
  return seq(type.raw, explicit(0, seq(...data.map(({ raw }) => raw), fields, signers)));
}

/** A program with a timestamp whose token is changed in what its signature does not cover. */
const inToken = (change: (token: Parts) => void) => (parts: Parts) => {
  const token = takeApart(stamp(only(parts).signature));
  change(token);
  only(parts).unsigned = [attribute(OID.spcTimestampToken, putTogether(token))];
};

/** The program with its timestamp's token changed like this has exactly this problem. */
const refusesToken = (code: string, name: string, change: (token: Parts) => void): void =>
  refuses(code, name, inToken(change));

interface AttributeCertificate {
  readonly tag: number;
  /** The certificate of its holder, DER. */
  readonly holder: Buffer;
  /** What follows the last field. */
  readonly extra: Buffer;
  /** SEQUENCE OF Attribute, DER. */
  readonly attributes: Buffer;
}

describe('data that no signature covers', () => {
  const junk = attribute('1.3.6.1.4.1.42921.1.2.1', octets(Buffer.from('anything')));
  const stranger = makeCodeSigner({ name: 'Stranger' });

  refusesSigner('signature-attribute-unknown', 'an unsigned attribute without a known meaning', {
    unsigned: [junk],
  });
  refusesBeside('a certificate that no chain needs', () => [stranger.certificate.raw]);
  refusesSigner('signature-attribute-unknown', 'an attribute of a known type, without a value', {
    unsigned: [attribute(OID.spcNestedSignature)],
  });
  refusesBeside('an attribute certificate, or other data in its place', () => [
    tlv(0xa2, octets(Buffer.from('anything'))),
  ]);
  refuses('signature-certificate', "a certificate that only has the signer's name", (parts) => {
    const double = makeCodeSigner({ name: 'Test publisher' });
    assert.equal(double.certificate.subject, signer.certificate.subject);
    parts.certificates.push(double.certificate.raw);
  });
  refuses(
    'signature-certificate',
    "the authority's certificate, which lies in its token already",
    (parts) => {
      addTimestamp(parts);
      parts.certificates.push(stamper.certificate.raw);
    },
  );
  it('certificates of the chain may be there, with the root and cross-certificates', async () => {
    const cross = makeAuthority({ name: middle.name, key: middle.key, by: stampRoot });
    await isOk((parts) =>
      parts.certificates.push(root.certificate.raw, cross.certificate.raw, stampRoot.certificate.raw),
    );
  });
  const payload = (bytes: number): Partial<Recipe> => ({
    extensions: [{ oid: '2.25.42', critical: false, value: octets(Buffer.alloc(bytes)) }],
  });
  const named = (name: string): Buffer => makeAuthority({ name }).certificate.raw;
  refusesBeside("one that only has the name of the signer's issuer", () => [named(middle.name)]);
  refusesBeside('ninety of them', () => Array.from({ length: 90 }, () => named(middle.name)));
  refusesBeside('one that only has the name of the root', () => [named(root.name)]);
  refusesToken(
    'signature-certificate',
    "one that only has the name of the authority's issuer, in the timestamp",
    (token) => token.certificates.push(named(stampRoot.name)),
  );
  refusesBeside('one of the chain three times', () => [middle.certificate.raw, middle.certificate.raw]);
  it('certificates may occur twice, as in node.exe', async () => {
    await isOk((parts) => parts.certificates.push(signer.certificate.raw, middle.certificate.raw));
  });
  const elsewhere = makeAuthority({ name: 'Elsewhere' });
  /** A certificate with the key of `of`, issued by another authority: it also verifies what `of` signed. */
  const imposter = (of: Made, more: Partial<Recipe> = {}): Buffer =>
    makeAuthority({ name: of.name, key: of.key, by: elsewhere, ...more }).certificate.raw;
  refusesBeside("one with the intermediate's key by another authority, beside it", () => [imposter(middle)]);
  refusesBeside("a large one with the root's key by another authority", () => [
    imposter(root, payload(5000)),
  ]);
  refusesBeside("one with the root's key that claims to be self-signed and is not", () => [
    imposter(root, { issuerName: root.name }),
  ]);
  refusesBeside("two with the root's key by missing authorities", () => [imposter(root), imposter(root)]);
  const evil = makeAuthority({ name: 'Evil', ...payload(60_000) });
  refusesBeside(
    "one with the root's key by an authority of the attacker's, and that authority with 60 kB in it",
    () => [imposter(root, { by: evil }), evil.certificate.raw],
  );
  it('signature-certificate: several small ones that are large in total, if roots are given', async () => {
    const line = [makeAuthority({ name: 'Evil 0', ...payload(500) })];
    for (let at = 1; at < 7; at++) {
      const by = line[at - 1] ?? assert.fail();
      line.push(makeAuthority({ name: `Evil ${at}`, by, ...payload(500) }));
    }
    const program = await edited(good, (parts) => {
      parts.certificates.push(imposter(root, { by: line.at(-1) ?? assert.fail() }));
      parts.certificates.push(...line.map(({ certificate }) => certificate.raw));
    });
    assert.deepEqual(codes(await verify(program, trusting)), ['signature-certificate']);
  });
  refusesToken(
    'signature-certificate',
    "the same in the timestamp, with the key of its authority's issuer",
    (token) => token.certificates.push(imposter(stampRoot, { by: evil }), evil.certificate.raw),
  );
  it('signature-repeated: the same signature nested three times', async () => {
    const program = await edited(good256, (parts) => {
      const again = attribute(OID.spcNestedSignature, nestable, nestable, nestable);
      only(parts).unsigned = sorted([...only(parts).unsigned, again]);
    });
    assert.deepEqual(codes(await verify(program, trusting)), ['signature-repeated']);
  });
  it("one with the root's key by a missing authority is accepted, as cross-certificates are like that", async () => {
    await isOk((parts) => parts.certificates.push(imposter(root)));
  });
  it("signature-certificate: the signer's own, exchanged for a large one with the same key", async () => {
    const own = makeCodeSigner({
      name: signer.name,
      key: signer.key,
      by: elsewhere,
      issuerName: middle.name,
      serial: Number.parseInt(signer.certificate.serial, 16),
      ...payload(5000),
    });
    const program = await edited(good, (parts) => {
      parts.certificates = [own.certificate.raw, middle.certificate.raw];
    });
    assert.deepEqual(codes(await verify(program)), ['signature-certificate']);
    assert.deepEqual(codes(await verify(program, trusting)), ['certificate-chain-signature']);
  });
  it('a maze of certificates that sign each other takes little time', async () => {
    const key = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const maze = Array.from({ length: 90 }, () => makeAuthority({ name: 'Maze', key }));
    const lost = makeCodeSigner({ name: 'Lost', by: maze[0] ?? assert.fail() });
    const program = await osslSigned({ signer: lost, chain: maze });
    const start = performance.now();
    assert.deepEqual(codes(await verify(program)), ['signature-certificate']);
    assert.ok(performance.now() - start < 1000);
  });
  refusesWith('signature-parameters', 'bytes hidden as parameters of a digest in SignedData', {
    digestAlgorithms: [withJunk(OID.sha256)],
  });
  refusesSigner('signature-parameters', "bytes hidden as parameters of the signer's digest", {
    digestAlgorithm: withJunk(OID.sha256),
  });
  refusesSigner('signature-parameters', 'bytes hidden as parameters of the signature algorithm', {
    signatureAlgorithm: withJunk(OID.ecdsaWithSha256),
  });
  it('signature-crls: revocation lists, or other data in their place', async () => {
    const parts = takeApart(await signatureOf(good));
    const certificates = tlv(0xa0, ...parts.certificates);
    const both = Buffer.concat([certificates, tlv(0xa1, octets(Buffer.from('anything')))]);
    const whole = putTogether({ ...parts, certificates: [] });
    const program = await withSignature(good, insertBeforeSigners(whole, both));
    assert.deepEqual(codes(await verify(program)), ['signature-crls']);
  });

  refusesToken('signature-attribute-unknown', 'an unsigned attribute in the timestamp', (token) =>
    only(token).unsigned.push(junk),
  );
  refusesToken('signature-certificate', 'a certificate in the timestamp that it has no use for', (token) =>
    token.certificates.push(stranger.certificate.raw),
  );
  const clock = (bytes: number): Buffer =>
    seq(attribute('1.3.6.1.4.1.601.10.4.1', octets(Buffer.alloc(bytes))));
  const attributeCertificate = (change: Partial<AttributeCertificate> = {}): Buffer => {
    const { tag, holder, extra, attributes } = {
      tag: 0xa1,
      holder: stamper.certificate.raw,
      extra: Buffer.alloc(0),
      attributes: clock(30),
      ...change,
    };
    const sha1 = seq(oid(OID.sha1));
    const digest = createHash('sha1').update(holder).digest();
    const now = generalizedTime(new Date('2026-01-01'));
    const information = seq(
      integer(1),
      seq(tlv(context(2), tlv(TAG.enumerated, Buffer.from([1])), sha1, bitString(digest))),
      tlv(context(0)),
      seq(oid(OID.sha256WithRsa)),
      integer(7),
      seq(now, now),
      attributes,
      extra,
    );
    return tlv(tag, information, seq(oid(OID.sha256WithRsa)), bitString(Buffer.alloc(128)));
  };
  /** The signed attributes name the token's certificate and another one as well, as Microsoft's do. */
  const bindTwo = (token: Parts): void => {
    const ids = [stamper.certificate.raw, Buffer.from('another')].map((each) =>
      seq(octets(createHash('sha256').update(each).digest())),
    );
    setSigned(token, OID.signingCertificateV2, seq(seq(...ids)));
    resign(token, stamper.key);
  };
  const withAttributeCertificate = (change: Partial<AttributeCertificate>): ((parts: Parts) => void) =>
    inToken((token) => {
      bindTwo(token);
      token.certificates.push(attributeCertificate(change));
    });
  refusesToken(
    'signature-certificate',
    'an attribute certificate of the authority in a timestamp that binds none',
    (token) => token.certificates.push(attributeCertificate()),
  );

  for (const tag of [0xa1, 0xa2])
    it(`the timestamp may hold an attribute certificate of the authority, under [${tag - 0xa0}], though nothing covers it`, async () => {
      const program = await edited(good, withAttributeCertificate({ tag }));
      assert.deepEqual(codes(await verify(program, trusting)), []);
    });
  for (const [name, change] of [
    ['an attribute certificate of another authority in the timestamp', { holder: stranger.certificate.raw }],
    [
      'an attribute certificate with more in it than belongs there',
      { extra: octets(Buffer.from('anything')) },
    ],
    ['an attribute certificate with room for much more', { attributes: clock(1000) }],
    [
      'an attribute certificate about something else than a clock',
      { attributes: seq(octets(Buffer.alloc(20))) },
    ],
    [
      'an attribute certificate with an attribute of another kind',
      { attributes: seq(attribute('1.3.6.1.4.1.601.10.5.1', NULL)) },
    ],
  ] as const)
    refuses('signature-certificate', name, withAttributeCertificate(change));
  refusesToken('signature-certificate', 'the same attribute certificate twice', (token) => {
    bindTwo(token);
    token.certificates.push(attributeCertificate(), attributeCertificate());
  });
  refuses('signature-certificate', "the authority's attribute certificate beside the signer's", (parts) => {
    addTimestamp(parts);
    parts.certificates.push(attributeCertificate());
  });
  refusesToken('signature-parameters', 'bytes hidden in the digests of the timestamp', (token) => {
    token.digestAlgorithms = [withJunk(OID.sha256)];
  });
  refusesToken('signature-digests', 'a digest in the timestamp that is none', (token) =>
    token.digestAlgorithms.push(seq(oid('2.25.42'))),
  );
  refusesToken('signature-digests', 'a digest in the timestamp that it has no use for', (token) =>
    token.digestAlgorithms.push(sha384),
  );
  it('every finding is a separate problem', async () => {
    const program = await edited(
      good,
      inToken((token) => {
        token.digestAlgorithms.push(withJunk(OID.sha256));
        token.certificates.push(stranger.certificate.raw);
        only(token).unsigned.push(junk);
      }),
    );
    const report = await verify(program, trusting);
    assert.deepEqual(codes(report), [
      'signature-attribute-unknown',
      'signature-digests',
      'signature-parameters',
      'signature-certificate',
    ]);
    assert.ok(report.problems.every(({ message }) => message.includes('timestamp of the signature')));
  });
});

const nest = (parts: Parts, nested: Buffer): void => {
  only(parts).unsigned = [attribute(OID.spcNestedSignature, nested)];
};

describe('nested signatures', () => {
  it('are reported one by one', async () => {
    const inner = takeApart(await signatureOf(good));
    setSigned(inner, OID.contentType, oid(OID.data));
    resign(inner);
    const program = await edited(good, (parts) => nest(parts, putTogether(inner)));
    const report = await verify(program, trusting);
    assert.equal(report.status, 'bad');
    assert.deepEqual(
      report.problems.map(({ code, signature }) => [code, signature]),
      [['cms-content-type', 1]],
    );
    assert.deepEqual(
      report.signatures.map(({ trusted }) => trusted),
      [true, false],
    );
  });
  it('der-malformed: one that is not a signature', async () => {
    const program = await edited(good, (parts) => nest(parts, seq(integer(1))));
    assert.deepEqual(codes(await verify(program)), ['der-malformed']);
  });
  it('signature-nested-deep: a signature nested in a nested one, which no verifier reads', async () => {
    const inner = takeApart(await signatureOf(good));
    nest(inner, await signatureOf(good));
    const program = await edited(good, (parts) => nest(parts, putTogether(inner)));
    assert.deepEqual(codes(await verify(program, trusting)), ['signature-nested-deep']);
  });
  it('file-digest-differs: a nested signature of another program', async () => {
    const other = unsigned();
    other.writeUInt8(other.readUInt8(0x400) ^ 1, 0x400);
    const inner = await signatureOf(await osslSigned({ program: other }));
    const program = await edited(good, (parts) => nest(parts, inner));
    assert.deepEqual(codes(await verify(program, trusting)), ['file-digest-differs']);
  });
});

describe('weak digests', () => {
  it('digest-weak: MD5', async () => {
    const key = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const rsa = makeCodeSigner({ name: 'RSA publisher', by: middle, key });
    const program = await osslSigned({ signer: rsa, hash: 'md5' });
    assert.deepEqual(codes(await verify(program)), ['digest-weak']);
  });
  it('digest-weak: SHA-1 alone, if roots are given', async () => {
    const program = await osslSigned({ hash: 'sha1' });
    assert.equal((await verify(program)).status, 'intact');
    assert.deepEqual(codes(await verify(program, trusting)), ['digest-weak']);
  });
  const stranger = makeCodeSigner({ name: 'Stranger', by: makeAuthority({ name: 'Elsewhere' }) });
  /** `inner` nested in `outer`, both over the same program. */
  const nested = async (outer: Buffer, inner: Buffer): Promise<Buffer> =>
    withSignature(outer, addNested(await signatureOf(outer), await signatureOf(inner), 'test'));
  const trust = async (program: Buffer): Promise<(boolean | null)[]> =>
    (await verify(program, trusting)).signatures.map(({ trusted }) => trusted);

  it('a SHA-1 signature beside a better one is ok if it leads to the roots as well, on either side', async () => {
    const sha1 = await osslSigned({ hash: 'sha1' });
    for (const program of [await nested(sha1, good256), await nested(good256, sha1)]) {
      assert.equal((await verify(program, trusting)).status, 'ok');
      assert.deepEqual(await trust(program), [true, true]);
    }
  });
  for (const hash of ['sha1', 'sha256', 'sha384'])
    it(`certificate-chain-incomplete: a stranger's ${hash} signature, outside ours or nested in it`, async () => {
      const theirs = await osslSigned({ signer: stranger, chain: [], hash });
      for (const program of [await nested(theirs, good256), await nested(good256, theirs)]) {
        const report = await verify(program, trusting);
        assert.equal(report.status, 'bad');
        assert.deepEqual(codes(report), ['certificate-chain-incomplete']);
        assert.equal((await verify(program)).status, 'intact');
      }
    });
  const refusesSha1 = (code: string, name: string, make: () => Promise<Buffer>): void => {
    it(`${code}: a SHA-1 signature beside a better one, ${name}`, async () => {
      const report = await verify(await nested(await make(), good256), trusting);
      assert.deepEqual(codes(report), [code]);
      assert.deepEqual(
        report.signatures.map(({ trusted }) => trusted),
        [false, true],
      );
    });
  };
  const sha1By = (by: Made, chain: readonly Made[] = [middle]): Promise<Buffer> =>
    osslSigned({ signer: by, chain, hash: 'sha1' });
  refusesSha1('certificate-not-for-code-signing', 'by a certificate for another purpose', () =>
    sha1By(makeCodeSigner({ name: 'Server', by: middle, purposes: ['1.3.6.1.5.5.7.3.1'] })),
  );
  refusesSha1('certificate-expired', 'by a certificate that has expired, without a timestamp', () =>
    sha1By(makeCodeSigner({ name: 'Old', by: middle, from: new Date(0), until: new Date(1e12) })),
  );
  refusesSha1('timestamp-imprint', 'with a timestamp over something else', async () =>
    edited(await osslSigned({ hash: 'sha1' }), (parts) => {
      only(parts).unsigned = [attribute(OID.spcTimestampToken, stamp(Buffer.from('something else')))];
    }),
  );
  refusesSha1('certificate-chain-untrusted-root', 'with a timestamp whose root was not given', async () =>
    edited(await osslSigned({ hash: 'sha1' }), (parts) =>
      addTimestamp(parts, { by: makeTimestamper({ name: 'Own clock' }) }),
    ),
  );
  it('certificate-chain-weak: MD5 or RSA of 1024 bits anywhere, even beside a better signature', async () => {
    const key = generateKeyPairSync('rsa', { modulusLength: 1024 });
    const short = await sha1By(makeCodeSigner({ name: 'Short', by: middle, key }));
    assert.deepEqual(codes(await verify(await nested(short, good256), trusting)), ['certificate-chain-weak']);
  });

  const oldMiddle = makeAuthority({ name: 'Old intermediate', by: root, hash: 'sha1' });
  const oldSigner = makeCodeSigner({ name: 'Old publisher', by: oldMiddle });
  it('certificate-chain-weak: a chain with SHA-1 in it, unless there is a better signature', async () => {
    for (const hash of ['sha1', 'sha256']) {
      const weak = await osslSigned({ signer: oldSigner, chain: [oldMiddle], hash });
      const code = hash === 'sha1' ? 'digest-weak' : 'certificate-chain-weak';
      assert.deepEqual(codes(await verify(weak, trusting)), [code]);
      assert.equal((await verify(await nested(weak, good256), trusting)).status, 'ok');
    }
  });
  it('timestamp-imprint: a SHA-1 timestamp proves no time, even if only roots for timestamps are given', async () => {
    const weak = await edited(good, (parts) => addTimestamp(parts, { hash: 'sha1' as DigestName }));
    const { timestampRoots } = trusting;
    assert.ok(timestampRoots);
    assert.equal((await verify(weak)).status, 'intact');
    for (const options of [{ timestampRoots }, trusting])
      assert.deepEqual(codes(await verify(weak, options)), ['timestamp-imprint']);
    const sha1 = await edited(await osslSigned({ hash: 'sha1' }), (parts) =>
      addTimestamp(parts, { hash: 'sha1' as DigestName }),
    );
    const report = await verify(sha1, { timestampRoots });
    assert.equal(report.status, 'intact');
    assert.equal(report.signatures[0]?.timestamp?.trusted, null);
    assert.equal((await verify(await nested(sha1, good256), trusting)).status, 'ok');
  });
  it('a better signature that is bad itself permits no SHA-1', async () => {
    const sha1 = await osslSigned({ hash: 'sha1' });
    const theirs = await osslSigned({ signer: stranger, chain: [] });
    assert.deepEqual(codes(await verify(await nested(sha1, theirs), trusting)), [
      'digest-weak',
      'certificate-chain-incomplete',
    ]);
    const weak = await osslSigned({ signer: oldSigner, chain: [oldMiddle] });
    assert.deepEqual(codes(await verify(await nested(sha1, weak), trusting)), [
      'digest-weak',
      'certificate-chain-weak',
    ]);
  });
});

/** Every variant of this DER with one more element at the end of one constructed value, lengths corrected. */
function* enlarged(der: Der, extra: Buffer): Generator<[Buffer, string]> {
  if ((der.tag & 0x20) === 0) return;
  const inside = children(der, 'test');
  const around = (parts: readonly Buffer[]): Buffer => tlv(der.tag, ...parts);
  const raws = inside.map(({ raw }) => raw);
  yield [around([...raws, extra]), 'at its end'];
  yield [around([extra, ...raws]), 'at its beginning'];
  for (const [at, child] of inside.entries()) {
    yield [around([...raws.slice(0, at + 1), ...raws.slice(at)]), `${at} twice`];
    for (const [changed, where] of enlarged(child, extra))
      yield [around(raws.with(at, changed)), `${at}.${where}`];
  }
}

it('an element added, or repeated, anywhere in a signature makes it bad', async () => {
  const der = parseDer(await signatureOf(good256), 'test');
  const extra = octets(Buffer.from('anything'));
  const [token] = parseSignature(der.raw, 'test').timestamps;
  const certificates = [der.raw, token ?? assert.fail()]
    .flatMap((each) => takeApart(each).certificates)
    .map((each) => each.toString('hex'));
  /** Only a certificate that occurs twice is accepted. */
  const twice = (changed: Buffer): boolean =>
    certificates.some((each) => changed.toString('hex').split(each).length === 3);
  let tried = 0;
  for (const [changed, where] of enlarged(der, extra)) {
    const report = await verify(await withSignature(good256, changed), trusting);
    tried++;
    if (report.status !== 'bad') assert.ok(twice(changed) && report.status === 'ok', where);
  }
  assert.ok(tried > 500);
});

it('a changed byte anywhere in the signature makes it bad', async () => {
  const signature = await signatureOf(good);
  for (let at = 0; at < signature.length; at += 3) {
    const changed = Buffer.from(signature);
    changed.writeUInt8(changed.readUInt8(at) ^ 0x55, at);
    assert.equal((await verify(withTable(winCertificate(changed)), trusting)).status, 'bad', `byte ${at}`);
  }
});

import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { describe, it } from 'node:test';
import { OID } from '../../../src/lib/asn1/oids.ts';
import { openSignableFile } from '../../../src/engine/formats/recognize.ts';
import { signProgram } from '../../../src/engine/authenticode/sign.ts';
import { proveOnlySignatureAdded } from '../../../src/engine/authenticode/only-signature-added.ts';
import { verifySignableFile } from '../../../src/engine/authenticode/verify.ts';
import { verifyProgram } from '../../../src/engine/artifact/verify-program.ts';
import { signingKey } from '../../../src/engine/keys/signing-key.ts';
import type { ByteSource } from '../../../src/lib/bytes/byte-source.ts';
import { makeCodeSigner, makeTimestamper, type Recipe } from '../../lib/x509/certificate-maker.ts';
import { bytesOf, openBytes, osslsigncode, OpensslTimestamper } from './tools.ts';
import {
  addTimestamp,
  codes,
  edited,
  middle,
  osslSigned,
  outcomes,
  roots,
  signer,
  stamper,
  stampRoot,
  timestampRoots,
  trusting,
  unsigned,
  verify,
  withOpensslAuthority,
} from './verify-maker.ts';

const DAY = 24 * 3600 * 1000;
const days = (n: number): Date => new Date(Date.now() + n * DAY);

describe('a program that osslsigncode signed', () => {
  for (const hash of ['sha256', 'sha384', 'sha512'])
    it(`is ok with an EC key and ${hash}`, async () => {
      const report = await verify(await osslSigned({ hash }), trusting);
      assert.deepEqual(codes(report), []);
      assert.equal(report.status, 'ok');
      assert.equal(report.signatures[0]?.digestAlgorithm, hash);
    });

  it('is ok with an RSA key', async () => {
    const key = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const rsa = makeCodeSigner({ name: 'RSA publisher', by: middle, key });
    assert.equal((await verify(await osslSigned({ signer: rsa }), trusting)).status, 'ok');
  });

  it('reports signer, description and time', async () => {
    const program = await osslSigned({ arguments: ['-n', 'Blender 3D', '-i', 'https://www.blender.org/'] });
    const [signature] = (await verify(program)).signatures;
    const { certificate } = signer;
    assert.deepEqual(signature?.signer, {
      subject: 'CN=Test publisher',
      issuer: 'CN=Test intermediate',
      serial: certificate.serial,
      sha256: certificate.sha256,
      notBefore: certificate.notBefore.toISOString(),
      notAfter: certificate.notAfter.toISOString(),
    });
    assert.equal(signature.programName, 'Blender 3D');
    assert.equal(signature.url, 'https://www.blender.org/');
    assert.ok(Math.abs(Date.parse(signature.signingTime ?? '') - Date.now()) < DAY);
    assert.equal(signature.timestamp, null);
  });

  it('is ok with a timestamp that OpenSSL made', async () => {
    const program = await withOpensslAuthority((url) => osslSigned({ arguments: ['-ts', url] }));
    const report = await verify(program, { ...trusting, requireTimestamp: true });
    assert.deepEqual(codes(report), []);
    assert.equal(report.status, 'ok');
    const timestamp = report.signatures[0]?.timestamp;
    assert.equal(timestamp?.authority, 'CN=Test timestamp authority');
    assert.equal(timestamp.kind, 'rfc3161');
    assert.equal(timestamp.trusted, true);
    assert.equal(timestamp.certificate.sha256, stamper.certificate.sha256);
    assert.ok(Math.abs(Date.parse(timestamp.time) - Date.now()) < 60_000);
  });

  it('is ok with a timestamp that was added later', async () => {
    const program = await osslSigned();
    const stamped = await withOpensslAuthority((url) => osslsigncode('add', program, '-ts', url));
    assert.equal((await verify(stamped, { ...trusting, requireTimestamp: true })).status, 'ok');
  });

  it('is ok with two signatures, each in the report', async () => {
    const program = await osslSigned({ program: await osslSigned(), hash: 'sha512', arguments: ['-nest'] });
    const report = await verify(program, trusting);
    assert.deepEqual(codes(report), []);
    assert.equal(report.status, 'ok');
    assert.deepEqual(
      report.signatures.map(({ index, nested, digestAlgorithm, trusted }) => ({
        index,
        nested,
        digestAlgorithm,
        trusted,
      })),
      [
        { index: 0, nested: false, digestAlgorithm: 'sha256', trusted: true },
        { index: 1, nested: true, digestAlgorithm: 'sha512', trusted: true },
      ],
    );
  });

  it('is ok with page hashes in it', async () => {
    assert.equal((await verify(await osslSigned({ arguments: ['-ph'] }), trusting)).status, 'ok');
  });

  it('passes every step, in order', async () => {
    const program = await edited(await osslSigned(), addTimestamp);
    assert.deepEqual(outcomes(await verify(program, trusting)), {
      structure: true,
      'digest-strength': true,
      'file-digest': true,
      'signed-attributes': true,
      signature: true,
      purpose: true,
      timestamp: true,
      'unsigned-parts': true,
      'timestamp-chain': true,
      validity: true,
      chain: true,
    });
  });
});

describe('a program signed by signpipe', () => {
  it('is ok, timestamped', async () => {
    const certificates = [signer.certificate, middle.certificate];
    const key = signingKey(signer.key.privateKey, certificates, 'test');
    const chain = [stamper.certificate, stampRoot.certificate];
    const identity = { certificate: stamper.certificate, key: stamper.key.privateKey, chain };
    const timestamper = new OpensslTimestamper(identity);
    const { content, digest } = await signProgram(await openBytes(unsigned()), {
      key,
      timestamper,
      name: 'Ours',
    });
    const report = await verify(await bytesOf(content), { ...trusting, requireTimestamp: true });
    assert.deepEqual(codes(report), []);
    assert.equal(report.status, 'ok');
    assert.equal(report.signatures[0]?.digest, digest.toString('hex'));
    assert.equal(report.signatures[0].programName, 'Ours');
  });
});

describe('status', () => {
  it('is unsigned for a program without a signature', async () => {
    assert.deepEqual(await verify(unsigned(), trusting), {
      path: 'program.exe',
      status: 'unsigned',
      signatures: [],
      problems: [],
    });
  });

  it('is intact, and trusted null, if no roots are given', async () => {
    const report = await verify(await edited(await osslSigned(), addTimestamp));
    assert.equal(report.status, 'intact');
    assert.equal(report.signatures[0]?.trusted, null);
    assert.equal(report.signatures[0].timestamp?.trusted, null);
    const { chain, 'timestamp-chain': timestampChain } = outcomes(report);
    assert.deepEqual({ chain, timestampChain }, { chain: null, timestampChain: null });
  });

  it('is ok without timestamp roots while the certificate is valid: the timestamp is not needed', async () => {
    const report = await verify(await edited(await osslSigned(), addTimestamp), { roots });
    assert.equal(report.status, 'ok');
    assert.equal(report.signatures[0]?.timestamp?.trusted, null);
  });

  it('is never intact if roots are given', async () => {
    const report = await verify(await osslSigned(), { roots: [] });
    assert.equal(report.status, 'bad');
    assert.deepEqual(codes(report), ['certificate-chain-incomplete']);
    assert.equal(report.signatures[0]?.trusted, false);
  });

  it('survives JSON', async () => {
    const report = await verify(await edited(await osslSigned(), addTimestamp), trusting);
    assert.deepEqual(JSON.parse(JSON.stringify(report)), report);
  });

  it('does not exist for a file that is not a program: not-signable is thrown', async () => {
    await assert.rejects(verify(Buffer.from('#!/bin/sh\n')), { code: 'not-signable' });
  });
});

/** A program signed by a certificate that has expired by now. */
const expiredSigner = (recipe: Partial<Recipe> = {}): Promise<Buffer> => {
  const by = makeCodeSigner({
    name: 'Old publisher',
    by: middle,
    from: days(-100),
    until: days(-10),
    ...recipe,
  });
  return osslSigned({ signer: by });
};
const stampedThen = async (recipe?: Partial<Recipe>): Promise<Buffer> =>
  edited(await expiredSigner(recipe), (parts) => addTimestamp(parts, { time: days(-50) }));

describe('time', () => {
  it('certificate-expired: without a timestamp', async () => {
    const program = await expiredSigner();
    assert.deepEqual(codes(await verify(program)), ['certificate-expired']);
    assert.deepEqual(codes(await verify(program, trusting)), ['certificate-expired']);
  });

  it('a signature with a trusted timestamp outlives its certificate', async () => {
    const report = await verify(await stampedThen(), trusting);
    assert.deepEqual(codes(report), []);
    assert.equal(report.status, 'ok');
  });

  it('is intact past expiry with a timestamp, if no roots are given', async () => {
    assert.equal((await verify(await stampedThen())).status, 'intact');
  });

  it('certificate-expired: anyone can run a timestamp authority, so one without a given root is no help', async () => {
    const report = await verify(await stampedThen(), { roots });
    assert.deepEqual(codes(report), ['certificate-expired']);
    assert.match(report.problems[0]?.message ?? '', /root of the timestamp authority/);
  });

  it('certificate-expired: timestamped only after the certificate had expired', async () => {
    const program = await edited(await expiredSigner(), (parts) => addTimestamp(parts, { time: days(-5) }));
    assert.deepEqual(codes(await verify(program, trusting)), ['certificate-expired']);
  });

  it('certificate-expired: the lifetime-signing purpose, timestamp or not', async () => {
    const program = await stampedThen({ purposes: [OID.codeSigning, OID.lifetimeSigning] });
    assert.deepEqual(codes(await verify(program, trusting)), ['certificate-expired']);
  });

  it('certificate-not-yet-valid: at a time before it was issued', async () => {
    const program = await osslSigned();
    assert.deepEqual(codes(await verify(program, { at: days(-1000) })), ['certificate-not-yet-valid']);
  });

  it('verifies for the given time', async () => {
    const program = await expiredSigner();
    assert.equal((await verify(program, { ...trusting, at: days(-50) })).status, 'ok');
  });
});

describe('reading', () => {
  /** Counts the bytes that are read. */
  class Counting implements ByteSource {
    readonly name = 'program.exe';
    bytesRead = 0;
    constructor(private readonly bytes: Buffer) {}
    get size(): number {
      return this.bytes.length;
    }
    // eslint-disable-next-line require-await -- the interface is asynchronous
    async read(offset: number, length: number): Promise<Buffer> {
      this.bytesRead += length;
      return this.bytes.subarray(offset, offset + length);
    }
  }

  it('reads the file once for each digest that its signatures use', async () => {
    const program = Buffer.concat([unsigned(), Buffer.alloc(4 * 1024 * 1024, 7)]);
    const once = await osslSigned({ program });
    const twice = await osslSigned({ program: once, arguments: ['-nest'] });
    const mixed = await osslSigned({ program: once, hash: 'sha512', arguments: ['-nest'] });
    const passes = async (bytes: Buffer): Promise<number> => {
      const counting = new Counting(bytes);
      assert.equal((await verifyProgram(counting, trusting)).status, 'ok');
      return Math.floor(counting.bytesRead / program.length);
    };
    assert.deepEqual([await passes(once), await passes(twice), await passes(mixed)], [1, 1, 2]);
  });

  it('reads an open file only once for several verifications', async () => {
    const program = Buffer.concat([unsigned(), Buffer.alloc(4 * 1024 * 1024, 7)]);
    const counting = new Counting(await osslSigned({ program }));
    const file = await openSignableFile(counting);
    assert.equal((await verifySignableFile(file, trusting)).status, 'ok');
    assert.equal((await verifySignableFile(file)).status, 'intact');
    assert.equal((await verifySignableFile(file)).path, 'program.exe');
    assert.equal(Math.floor(counting.bytesRead / program.length), 1);
    // Comparing it with the original reads it; its checksum was summed while it was hashed.
    await proveOnlySignatureAdded(await openBytes(program), file);
    assert.equal(Math.floor(counting.bytesRead / program.length), 2);
  });
});

describe('a timestamp by an authority that does not mark its purpose critical', () => {
  it('is good, as those of Microsoft of about 2018 are to Windows', async () => {
    const by = makeTimestamper({ name: 'Uncritical', by: stampRoot, purposesCritical: false });
    const program = await edited(await osslSigned(), (parts) => addTimestamp(parts, { by }));
    const report = await verify(program, trusting);
    assert.equal(report.status, 'ok');
    assert.match(report.signatures[0]?.timestamp?.authority ?? '', /Uncritical/);
  });
});

describe('timestampRoots', () => {
  it('vouch for the timestamp alone when no roots are given for the signer', async () => {
    const report = await verify(await edited(await osslSigned(), addTimestamp), { timestampRoots });
    assert.equal(report.status, 'intact');
    assert.equal(report.signatures[0]?.timestamp?.trusted, true);
  });
});

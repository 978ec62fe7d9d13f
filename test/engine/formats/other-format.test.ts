/** The engine signs, verifies, strips and proves files of a format that it does not know. */
import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { proveOnlySignatureAdded } from '../../../src/engine/authenticode/only-signature-added.ts';
import { signProgram, type SignOptions } from '../../../src/engine/authenticode/sign.ts';
import { parseSignature } from '../../../src/engine/authenticode/signature.ts';
import { verifySignableFile, type VerifyReport } from '../../../src/engine/authenticode/verify.ts';
import type { SignableFile } from '../../../src/engine/formats/signable-file.ts';
import { createTestPki, testSigningKey, type TestPki } from '../../../src/sandbox/certificates.ts';
import { buildPe } from '../../fixtures/pe.ts';
import { bytesOf, findingsIn, openBytes, OpensslTimestamper, source } from '../authenticode/tools.ts';
import { note, noteBy } from './note-file.ts';

let pki: TestPki;
let author = '';
let original: Buffer;
before(async () => {
  pki = await createTestPki({ key: 'p256', intermediate: true });
  author = pki.codeSigning.certificate.subject;
  original = noteBy(author, 'Dear reader,\n');
});

const open = (bytes: Buffer): Promise<SignableFile> => note.open(source(bytes, 'a.note'));

async function sign(bytes: Buffer, options: Partial<SignOptions> = {}): Promise<Buffer> {
  const key = testSigningKey(pki.codeSigning);
  const timestamper = new OpensslTimestamper(pki.timestamping);
  return bytesOf((await signProgram(await open(bytes), { key, timestamper, ...options })).content);
}

async function verify(bytes: Buffer): Promise<VerifyReport> {
  const roots = [pki.root.certificate];
  return verifySignableFile(await open(bytes), { roots, timestampRoots: roots, requireTimestamp: true });
}

const problemsOf = async (bytes: Buffer): Promise<string[]> =>
  (await verify(bytes)).problems.map(({ code }) => code);

const prove = async (before: Buffer, after: Buffer): Promise<Buffer> =>
  proveOnlySignatureAdded(await open(before), await open(after));

describe('a file of a format that the engine does not know', () => {
  it('is signed, timestamped and verified; the signed content has its own type', async () => {
    const signed = await sign(original);
    const report = await verify(signed);
    assert.deepEqual(report.problems, []);
    assert.equal(report.status, 'ok');
    const file = await open(signed);
    assert.equal(report.signatures[0]?.digest, (await file.digest('sha256')).toString('hex'));
    const { content } = parseSignature(file.signatures[0] ?? assert.fail(), 'it');
    assert.equal(content.type, '2.25.1234');
    assert.deepEqual(findingsIn(file), []);
    assert.equal((await verify(original)).status, 'unsigned');
  });

  it('is signed with other digests, which its content takes from the signer', async () => {
    for (const hash of ['sha384', 'sha512'] as const) {
      const { status, signatures } = await verify(await sign(original, { hash }));
      assert.deepEqual([status, signatures[0]?.digestAlgorithm], ['ok', hash]);
    }
  });

  it('is stripped again', async () => {
    const signed = await open(await sign(original));
    assert.deepEqual(await bytesOf(await signed.remove()), original);
  });

  it('is proven: signed, replaced, appended to', async () => {
    const signed = await sign(original);
    assert.deepEqual(await prove(original, signed), (await open(signed)).signatures[0]);
    await prove(signed, await sign(signed, { existing: 'replace' }));
    const appended = await sign(signed, { existing: 'append' });
    await prove(signed, appended);
    assert.deepEqual(
      (await verify(appended)).signatures.map(({ nested, trusted }) => [nested, trusted]),
      [
        [false, true],
        [true, true],
      ],
    );
  });

  it('already-signed: unless the options permit it', async () => {
    await assert.rejects(sign(await sign(original)), { code: 'already-signed' });
  });

  it('gets the same signature for the same content', async () => {
    const earlier = new Map();
    const once = await sign(original, { earlier });
    assert.deepEqual(await sign(original, { earlier }), once);
    assert.notDeepEqual(await sign(noteBy(author, 'Dear other,\n'), { earlier }), once);
  });
});

describe('the rules of such a format apply', () => {
  it('to what is signed', async () => {
    await assert.rejects(sign(noteBy(author, '')), { code: 'note-empty' });
  });

  it('to the signer, before its key is used, and when verified', async () => {
    const timestamper = new OpensslTimestamper(pki.timestamping);
    const stranger = noteBy('Somebody else', 'Dear reader,\n');
    await assert.rejects(sign(stranger, { timestamper }), { code: 'note-author-differs' });
    assert.deepEqual(timestamper.asked, []);
    const signed = await sign(original);
    const renamed = Buffer.from(signed.toString('latin1').replace(author, author.toUpperCase()), 'latin1');
    assert.deepEqual(await problemsOf(renamed), ['file-digest-differs', 'note-author-differs']);
  });

  it('to its content: a signature of a program is not one of a note', async () => {
    const key = testSigningKey(pki.codeSigning);
    const { signature } = await signProgram(await openBytes(buildPe()), { key, timestamper: null });
    const foreign = await bytesOf(await (await open(original)).embed(signature));
    assert.deepEqual(await problemsOf(foreign), ['authenticode-content']);
    await assert.rejects(prove(original, foreign), { code: 'authenticode-content' });
    const [own = assert.fail()] = (await open(await sign(original))).signatures;
    const program = await openBytes(await bytesOf(await (await openBytes(buildPe())).embed(own)));
    const { problems } = await verifySignableFile(program);
    assert.deepEqual(
      problems.map(({ code }) => code),
      ['authenticode-content'],
    );
  });

  it('to its text, its unauthenticated data and its uncovered field', async () => {
    const signed = await sign(original);
    const edit = (from: string, to: string): Buffer =>
      Buffer.from(signed.toString('latin1').replace(from, to), 'latin1');
    assert.deepEqual(await problemsOf(edit('Dear', 'Mean')), ['file-digest-differs']);
    await assert.rejects(prove(original, edit('Dear', 'Mean')), { code: 'strip-body-differs' });
    assert.deepEqual(await problemsOf(edit('signed  ', 'a secret')), ['note-state']);
    const stuffed = Buffer.concat([signed.subarray(0, -12), Buffer.alloc(5), signed.subarray(-12)]);
    stuffed.writeUInt32LE(signed.readUInt32LE(signed.length - 12) + 5, stuffed.length - 12);
    assert.deepEqual(await problemsOf(stuffed), ['note-trailing-bytes']);
    await assert.rejects(prove(original, stuffed), { code: 'strip-untidy', message: /5 bytes follow/ });
  });

  it('not-the-same-kind: a program is not a note plus a signature', async () => {
    const key = testSigningKey(pki.codeSigning);
    const { content } = await signProgram(await openBytes(buildPe()), { key, timestamper: null });
    const program = await openBytes(await bytesOf(content));
    await assert.rejects(proveOnlySignatureAdded(await open(original), program), {
      code: 'not-the-same-kind',
    });
  });
});

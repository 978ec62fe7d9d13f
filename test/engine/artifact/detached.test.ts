/** Signatures apart from their files: how they are read, and which names they have in receipts. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { readCountersignature } from '../../../src/engine/authenticode/countersignature.ts';
import { readWithoutFile } from '../../../src/engine/authenticode/signature-without-file.ts';
import { signProgram } from '../../../src/engine/authenticode/sign.ts';
import { detachedName, readDetached } from '../../../src/engine/artifact/detached.ts';
import { FORMATS } from '../../../src/engine/formats/registry.ts';
import type { FileFormat, SignableFile } from '../../../src/engine/formats/signable-file.ts';
import { octets } from '../../../src/lib/asn1/encode-der.ts';
import { parseDer, readOctets } from '../../../src/lib/asn1/der.ts';
import { createTestPki, testSigningKey, type TestPki } from '../../../src/sandbox/certificates.ts';
import { buildPe } from '../../fixtures/pe.ts';
import { openBytes, OpensslTimestamper, source } from '../authenticode/tools.ts';
import { note, noteBy } from '../formats/note-file.ts';

const HASH = 'ab'.repeat(32);

/** A format whose detached signatures are more than a signature, and which are told by name. */
const script: FileFormat = {
  ...note,
  name: 'script',
  extensions: ['one', 'two'],
  byName: true,
  detachedExtension: 'more',
  readDetached: async (detached, what) => {
    const der = readOctets(parseDer(detached, what), what);
    const file = await note.open(source(noteBy('a', 'b'), 'a.note'));
    return readWithoutFile(der, what, { readContent: (...content) => file.readContent(...content) });
  },
};

const formats = FORMATS as FileFormat[];
let pki: TestPki;
let pe: { der: Buffer; digest: Buffer; time: Date | undefined };
before(async () => {
  formats.push(script);
  pki = await createTestPki({ key: 'p256', intermediate: false });
  const file = await openBytes(buildPe());
  const timestamper = new OpensslTimestamper(pki.timestamping);
  const result = await signProgram(file, { key: testSigningKey(pki.codeSigning), timestamper });
  pe = { der: result.signature, digest: result.digest, time: result.timestamp?.time };
});
after(() => formats.pop());

const open = async (format: string, name: string): Promise<SignableFile> => {
  const file = await note.open(source(noteBy('a', 'b'), name));
  return Object.assign(Object.create(file) as SignableFile, { format });
};

describe('a detached signature', () => {
  it('states certificate, digest and time, and verifies, without the file', async () => {
    for (const format of ['pe', undefined]) {
      const [only = assert.fail(), ...others] = await readDetached(pe.der, format, 'it');
      assert.deepEqual(others, []);
      const { signature } = only;
      const { certificate = assert.fail() } = signature;
      assert.equal(certificate.sha256, pki.codeSigning.certificate.sha256);
      assert.deepEqual([only.digest().hash, only.digest().digest], ['sha256', pe.digest]);
      signature.requireContent('it');
      signature.requireValue(certificate.publicKey, 'it');
      const stamp = readCountersignature(signature, { now: new Date(), weakDigests: false, what: 'it' });
      assert.deepEqual(stamp?.time, pe.time);
    }
  });

  it('cms-message-digest: its content was changed', async () => {
    const changed = Buffer.from(pe.der);
    const at = changed.indexOf(pe.digest);
    changed.writeUInt8(changed.readUInt8(at) ^ 1, at);
    const [altered = assert.fail()] = await readDetached(changed, 'pe', 'it');
    assert.throws(() => altered.signature.requireContent('it'), { code: 'cms-message-digest' });
  });

  it('is read by its format, whatever that adds', async () => {
    const file = await note.open(source(noteBy('a', 'b'), 'a.note'));
    const digest = await file.digest('sha256');
    const unowned = Object.assign(Object.create(file) as SignableFile, { requireSigner: undefined });
    const { signature } = await signProgram(unowned, {
      key: testSigningKey(pki.codeSigning),
      timestamper: null,
    });
    const [stated = assert.fail()] = await readDetached(octets(signature), 'script', 'it');
    assert.deepEqual(stated.digest().digest, digest);
    await assert.rejects(readDetached(signature, 'script', 'it'), { code: 'der-malformed' });
  });

  it('authenticode-content: it is one of another format', async () => {
    const [stated = assert.fail()] = await readDetached(octets(pe.der), 'script', 'it');
    assert.throws(() => stated.digest(), { code: 'authenticode-content' });
  });

  it('format-unknown: a later version wrote it', () =>
    assert.rejects(readDetached(pe.der, 'later', 'it'), { code: 'format-unknown' }));
});

describe('the name of a detached signature', () => {
  it('is the SHA-256 of the unsigned file, and p7 unless its format says otherwise', async () => {
    assert.equal(detachedName(await open('pe', 'a.exe'), HASH), `${HASH}.p7`);
    assert.equal(detachedName(await open('later', 'a.exe'), HASH), `${HASH}.p7`);
  });

  it('has the extension if only that tells what the file is', async () => {
    assert.equal(detachedName(await open('script', 'x.zip!/dir/a.ONE'), HASH), `${HASH}.one.more`);
    assert.equal(detachedName(await open('script', 'a.two'), HASH), `${HASH}.two.more`);
    assert.equal(detachedName(await open('script', 'a.ex/../e'), HASH), `${HASH}.more`);
  });
});

/** What can be changed in a signed PE file that holds no CheckSum, which would show every change; see docs/formats.md. */
import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { signProgram } from '../../../../src/engine/authenticode/sign.ts';
import { parseSignature } from '../../../../src/engine/authenticode/signature.ts';
import { verifySignableFile } from '../../../../src/engine/authenticode/verify.ts';
import { openPe, type PeFile } from '../../../../src/engine/formats/pe/pe-file.ts';
import { isInvalid } from '../../../../src/lib/errors.ts';
import { createTestPki, testSigningKey, type TestPki } from '../../../../src/sandbox/certificates.ts';
import { buildPe, peLayout } from '../../../fixtures/pe.ts';
import { bytesOf, source } from '../../authenticode/tools.ts';

let pki: TestPki;
let bytes: Buffer;
let table: { readonly start: number; readonly end: number };
const open = (content: Buffer): Promise<PeFile> => openPe(source(content));

before(async () => {
  pki = await createTestPki({ key: 'p256', intermediate: false });
  const options = { key: testSigningKey(pki.codeSigning), timestamper: null, pageHashes: true };
  bytes = await bytesOf((await signProgram(await open(buildPe()), options)).content);
  bytes.fill(0, peLayout().checksum, peLayout().checksum + 4);
  table = (await open(bytes)).layout.table ?? assert.fail();
});

async function isGood(content: Buffer, roots = true): Promise<boolean> {
  try {
    const file = await open(content);
    const options = roots ? { roots: [pki.root.certificate] } : {};
    return (await verifySignableFile(file, options)).problems.length === 0;
  } catch (error) {
    if (isInvalid(error)) return false;
    throw error;
  }
}

function changed(at: number, bits: number): Buffer {
  const copy = Buffer.from(bytes);
  copy.writeUInt8(copy.readUInt8(at) ^ bits, at);
  return copy;
}

describe('a signed PE file without CheckSum', () => {
  it('is good', async () => {
    assert.ok(await isGood(bytes));
  });

  it('is bad with a bit of the certificate table changed, but for the version of SignedData: 1 or 3', async () => {
    // ContentInfo, its type, [0], SignedData, version.
    const version = bytes.indexOf(Buffer.from('020101', 'hex'), table.start) + 2;
    const missed: number[] = [];
    // Only for speed not each byte; 5 and 8 have no common divisor, so that each bit has its turn.
    for (let at = table.start; at < table.end; at += 5)
      if (at !== version && (await isGood(changed(at, 1 << (at % 8))))) missed.push(at);
    assert.deepEqual(missed, []);
    const versions = [];
    for (let bits = 1; bits < 256; bits += 1)
      if (await isGood(changed(version, bits))) versions.push(1 ^ bits);
    assert.deepEqual(versions, [3]);
  });

  it('is good however much of the padding behind the signature dwLength counts, and no more', async () => {
    const { start, end } = table;
    const length = (await open(bytes)).signatures[0]?.length ?? assert.fail();
    const good = [];
    for (let counted = length; counted < end - start + 8; counted += 1) {
      const copy = Buffer.from(bytes);
      copy.writeUInt32LE(counted, start);
      if (await isGood(copy)) good.push(counted);
    }
    assert.deepEqual(
      good,
      Array.from({ length: end - start - length - 7 }, (_, more) => 8 + length + more),
    );
  });

  it('without roots may have another certificate with the same key: who signed is not checked then', async () => {
    const { certificate } = parseSignature((await open(bytes)).signatures[0] ?? assert.fail(), 'it');
    const signature = bytes.indexOf(certificate?.raw ?? assert.fail()) + (certificate?.raw.length ?? 0) - 1;
    assert.ok(await isGood(changed(signature, 1), false));
    assert.ok(!(await isGood(changed(signature, 1))));
  });
});

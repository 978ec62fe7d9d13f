import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { octets, seq } from '../../../../src/lib/asn1/encode-der.ts';
import { readCertificateTable } from '../../../../src/engine/formats/pe/certificate-table.ts';
import { verifyProgram } from '../../../../src/engine/artifact/verify-program.ts';
import { buildPe, peChecksum, peLayout, winCertificate, type PeOptions } from '../../../fixtures/pe.ts';
import { makeAuthority, makeCodeSigner } from '../../../lib/x509/certificate-maker.ts';
import { openBytes, source } from '../../authenticode/tools.ts';
import { codes, osslSigned, roots, trusting, verify } from '../../authenticode/verify-maker.ts';

/** 13 bytes of DER, so that three bytes of padding follow it. */
const SIGNATURE = seq(octets(Buffer.alloc(9, 1)));
const OTHER = seq(octets(Buffer.alloc(9, 2)));

const findingsOf = (table: Buffer, everyEntry = false): string[] =>
  readCertificateTable(table, 'it', everyEntry).findings.map(({ code }) => code);

/** An entry whose dwLength counts the signature and `more`, padded to a multiple of eight with `fill`. */
function entry(signature: Buffer, more = 0, fill = 0): Buffer {
  const bytes = Buffer.alloc(Math.ceil((8 + signature.length) / 8) * 8, fill);
  bytes.writeUInt32LE(8 + signature.length + more, 0);
  bytes.writeUInt16LE(0x200, 4);
  bytes.writeUInt16LE(2, 6);
  signature.copy(bytes, 8);
  return bytes;
}

describe('dwLength', () => {
  it('may count the padding or not', () => {
    for (const more of [0, 3]) {
      const { signatures, findings } = readCertificateTable(entry(SIGNATURE, more), 'it');
      assert.deepEqual(signatures, [SIGNATURE]);
      assert.deepEqual(findings, []);
    }
  });
  it('may end with the signature and the file', () => {
    assert.deepEqual(findingsOf(entry(SIGNATURE).subarray(0, 8 + SIGNATURE.length)), []);
  });
  for (const less of [-1, -3, -7, -13])
    it(`pe-table-corrupt: ${-less} bytes less than the signature has`, () => {
      assert.throws(() => findingsOf(entry(SIGNATURE, less)), { code: 'pe-table-corrupt' });
    });
  it('pe-table-corrupt: more than the table has', () => {
    assert.throws(() => findingsOf(entry(SIGNATURE, 4)), { code: 'pe-table-corrupt' });
  });
  for (const more of [0, 1, 3])
    it(`table-trailing-bytes: padding that is not zero, of which it counts ${more}`, () => {
      assert.deepEqual(findingsOf(entry(SIGNATURE, more, 7)), ['table-trailing-bytes']);
    });
});

describe('several entries', () => {
  const two = Buffer.concat([entry(SIGNATURE), entry(OTHER)]);
  it('table-several-entries: Windows reads only the first', () => {
    assert.deepEqual(readCertificateTable(two, 'it').signatures, [SIGNATURE]);
    assert.deepEqual(findingsOf(two), ['table-several-entries']);
  });
  it('are all signatures for firmware', () => {
    assert.deepEqual(readCertificateTable(two, 'it', true).signatures, [SIGNATURE, OTHER]);
    assert.deepEqual(findingsOf(two, true), []);
  });
  it('table-trailing-bytes: something between them', () => {
    assert.deepEqual(findingsOf(Buffer.concat([entry(SIGNATURE, 0, 7), entry(OTHER)]), true), [
      'table-trailing-bytes',
    ]);
  });
  it('table-several-entries: one that is not a signature, for firmware too', () => {
    const foreign = winCertificate(Buffer.alloc(16), { type: 0xef1 });
    assert.deepEqual(findingsOf(Buffer.concat([entry(SIGNATURE), foreign]), true), ['table-several-entries']);
  });
});

describe('a UEFI program with several entries', () => {
  const EFI = { subsystem: 'efi' } as const;
  const ours = osslSigned({ program: buildPe({ ...EFI, checksum: 'right' }) });
  const signed = async (others: readonly Buffer[], options: PeOptions = EFI): Promise<Buffer> => {
    const {
      signatures: [signature],
    } = await openBytes(await ours);
    assert.ok(signature);
    const entries = [signature, ...others].map((each) => winCertificate(each));
    return buildPe({ ...options, certificates: Buffer.concat(entries), checksum: 'right' });
  };
  const by = async (name: string): Promise<Buffer> => {
    const signer = makeCodeSigner({ name, by: makeAuthority({ name: `${name} root` }) });
    const program = buildPe({ ...EFI, checksum: 'right' });
    return (await openBytes(await osslSigned({ program, signer, chain: [] }))).signatures[0] ?? assert.fail();
  };

  it('is ok if each leads to the roots', async () => {
    const {
      signatures: [signature],
    } = await openBytes(
      await osslSigned({ program: buildPe({ ...EFI, checksum: 'right' }), hash: 'sha384' }),
    );
    const program = await signed([signature ?? assert.fail()]);
    assert.equal(program.readUInt32LE(peLayout(EFI).checksum), peChecksum(program, peLayout(EFI)));
    const report = await verify(program, trusting);
    assert.equal(report.status, 'ok');
    assert.deepEqual(
      report.signatures.map(({ index, nested, trusted }) => [index, nested, trusted]),
      [
        [0, false, true],
        [1, false, true],
      ],
    );
  });
  it('certificate-chain-incomplete: one of them by a stranger', async () => {
    const program = await signed([await by('Stranger')]);
    const report = await verifyProgram(source(program), { roots });
    assert.deepEqual(
      report.problems.map(({ code, signature }) => [code, signature]),
      [['certificate-chain-incomplete', 1]],
    );
    assert.equal((await verify(program)).status, 'intact');
  });
  it('der-malformed: one of them that is not a signature', async () => {
    assert.deepEqual(codes(await verify(await signed([SIGNATURE]))), ['der-malformed']);
  });
});

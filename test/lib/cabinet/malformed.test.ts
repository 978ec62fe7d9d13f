/** Broken cabinets: each is refused with a named error, or read as far as it is whole. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { openCabinet } from '../../../src/lib/cabinet/cabinet.ts';
import { readBlocks } from '../../../src/lib/cabinet/data-blocks.ts';
import { requireUnpackable, unpackMembers } from '../../../src/lib/cabinet/unpack.ts';
import { BufferSource } from '../../../src/lib/bytes/byte-source.ts';
import { isInvalid } from '../../../src/lib/errors.ts';
import { buildCab, cabChecksum } from '../../fixtures/cab.ts';

/**
 * Two folders: 36 bytes of header, folders at 36 and 44, files at 52 ("a", 18 bytes) and 70 ("b"), data at 88 (MSZIP) and
 * after it (stored).
 */
const SOUND = buildCab({
  folders: [
    { files: [{ name: 'a', data: Buffer.from('some text, some more text') }], compression: 'mszip' },
    { files: [{ name: 'b', data: Buffer.from('stored') }] },
  ],
});
const DATA = 88;
const STORED = SOUND.length - 6 - 8;

type Edit = (bytes: Buffer) => Buffer | void;
const u8 =
  (at: number, value: number): Edit =>
  (bytes) =>
    void bytes.writeUInt8(value, at);
const u16 =
  (at: number, value: number): Edit =>
  (bytes) =>
    void bytes.writeUInt16LE(value, at);
const u32 =
  (at: number, value: number): Edit =>
  (bytes) =>
    void bytes.writeUInt32LE(value, at);

/** Changes the MSZIP block, with its checksum made right. */
const block =
  (edit: Edit): Edit =>
  (bytes) => {
    edit(bytes);
    const size = bytes.readUInt16LE(DATA + 4);
    const data = bytes.subarray(DATA + 8, DATA + 8 + size);
    bytes.writeUInt32LE(cabChecksum(bytes.subarray(DATA + 4, DATA + 8), cabChecksum(data)), DATA);
  };

const BROKEN: [code: string, what: string, edit: Edit][] = [
  ['cab-corrupt', 'it is empty', () => Buffer.alloc(0)],
  ['cab-corrupt', 'it ends inside its header', (bytes) => bytes.subarray(0, 35)],
  ['cab-corrupt', 'another mark', u8(0, 0x4e)],
  ['cab-corrupt', 'version 1.2', u8(0x18, 2)],
  ['cab-corrupt', 'version 2.3', u8(0x19, 2)],
  ['cab-corrupt', 'unknown flags', u16(0x1e, 8)],
  ['cab-corrupt', 'it is cut off', (bytes) => bytes.subarray(0, -1)],
  ['cab-corrupt', 'it claims to be larger', u32(0x08, 0xffffffff)],
  ['cab-corrupt', 'it claims to be smaller than its tables', u32(0x08, 60)],
  ['cab-corrupt', 'it claims to be smaller than its header', u32(0x08, 0)],
  ['cab-corrupt', 'files that begin before the folders end', u32(0x10, 44)],
  ['cab-corrupt', 'files that begin later', u32(0x10, 53)],
  ['cab-corrupt', 'more folders', u16(0x1a, 3)],
  ['cab-corrupt', 'fewer folders', u16(0x1a, 1)],
  ['cab-corrupt', 'as many folders as can be', u16(0x1a, 0xffff)],
  ['cab-corrupt', 'more files', u16(0x1c, 3)],
  ['cab-corrupt', 'as many files as can be', u16(0x1c, 0xffff)],
  ['cab-corrupt', 'a reserved area that is not there', u16(0x1e, 4)],
  ['cab-corrupt', 'a predecessor without a name', u16(0x1e, 1)],
  [
    'cab-corrupt',
    'names of neighbours that do not end',
    (bytes) => Buffer.concat([bytes.subarray(0, 36), Buffer.alloc(600, 0x41)]),
  ],
  ['cab-corrupt', 'a folder whose data begins in the tables', u32(36, 70)],
  ['cab-corrupt', 'a folder whose data begins behind the end', u32(36, SOUND.length + 1)],
  ['cab-corrupt', 'two folders with the same data', u32(44, DATA)],
  ['cab-corrupt', 'a folder with more blocks', u16(40, 2)],
  ['cab-corrupt', 'a folder with as many blocks as can be', u16(48, 0xffff)],
  ['cab-corrupt', 'a folder without blocks', u16(40, 0)],
  ['cab-corrupt', 'an unknown compression', u16(42, 4)],
  ['cab-corrupt', 'MSZIP with a parameter', u16(42, 0x101)],
  ['cab-corrupt', 'LZX with a window of 2^14 bytes', u16(42, 0x0e03)],
  ['cab-corrupt', 'LZX with a window of 2^22 bytes', u16(42, 0x1603)],
  ['cab-data-corrupt', 'MSZIP that is said to be LZX', u16(42, 0x1503)],
  ['cab-compression', 'Quantum', u16(42, 0x0072)],
  ['cab-corrupt', 'a file in a missing folder', u16(52 + 8, 2)],
  ['cab-corrupt', 'a file continued from a missing cabinet', u16(52 + 8, 0xfffd)],
  ['cab-corrupt', 'a file continued in a missing cabinet', u16(52 + 8, 0xfffe)],
  ['cab-corrupt', 'a file that is larger than its folder', u32(52, 0xffffffff)],
  ['cab-corrupt', 'a file that runs past its folder, which its blocks could hold', u32(52, 26)],
  ['cab-corrupt', 'a file at the largest offset', u32(56, 0xffffffff)],
  ['cab-corrupt', 'a file without a name', u8(68, 0)],
  ['cab-corrupt', 'a name that does not end', (bytes) => bytes.fill(0x41, 68, 88)],
  [
    'cab-corrupt',
    'a name that is not its UTF-8',
    (bytes) => bytes.fill(0x80, 52 + 14, 52 + 15).fill(0xff, 68, 69),
  ],
  ['cab-corrupt', 'an empty block', u16(DATA + 4, 0)],
  ['cab-corrupt', 'a block that unpacks to nothing', u16(DATA + 6, 0)],
  ['cab-corrupt', 'a block that unpacks to more than 32 KiB', u16(DATA + 6, 0x8001)],
  ['cab-corrupt', 'a short block that is not the last', shortBlocks],
  ['cab-corrupt', 'a block that runs into the next folder', u16(DATA + 4, 1000)],
  ['cab-data-corrupt', 'a wrong checksum', u8(DATA, 1)],
  ['cab-data-corrupt', 'a changed byte of stored data', u8(STORED + 8, 1)],
  [
    'cab-data-corrupt',
    'a stored block of another size',
    (bytes) => void bytes.fill(0, STORED, STORED + 4).writeUInt16LE(5, STORED + 6),
  ],
  ['cab-data-corrupt', 'a block without CK', block(u8(DATA + 8, 0))],
  ['cab-data-corrupt', 'a block of an unknown kind', block(u8(DATA + 10, 7))],
  ['cab-data-corrupt', 'a block that unpacks to less', block(u16(DATA + 6, 26))],
  ['cab-data-corrupt', 'a block that unpacks to more', block(u16(DATA + 6, 24))],
  [
    'cab-data-corrupt',
    'a block that ends too early',
    block((bytes) => bytes.fill(0xff, DATA + 20, DATA + 24)),
  ],
  ['cab-data-corrupt', 'a block with bytes behind its end', block(endsEarly)],
];

/** An empty stream with fixed codes, and bytes that it does not use. */
function endsEarly(bytes: Buffer): void {
  const size = bytes.readUInt16LE(DATA + 4);
  bytes.fill(0, DATA + 10, DATA + 8 + size).writeUInt16LE(0x0003, DATA + 10);
  bytes.writeUInt16LE(1, DATA + 6);
}

async function unpack(bytes: Buffer): Promise<number> {
  const cabinet = await openCabinet(new BufferSource(bytes, 'a.cab'));
  requireUnpackable(cabinet);
  let size = 0;
  for await (const { content } of unpackMembers(cabinet, () => true, { ratio: 200 }))
    for await (const chunk of content) size += chunk.length;
  for (const folder of cabinet.folders) for await (const _ of readBlocks(cabinet, folder));
  return size;
}

/** Two blocks in the stored folder, of three bytes each. */
function shortBlocks(): Buffer {
  const [head, tail] = [SOUND.subarray(0, STORED), SOUND.subarray(-6)];
  const part = (bytes: Buffer): Buffer => Buffer.concat([Buffer.from('0000000003000300', 'hex'), bytes]);
  const cab = Buffer.concat([head, part(tail.subarray(0, 3)), part(tail.subarray(3))]);
  cab.writeUInt32LE(cab.length, 0x08);
  cab.writeUInt16LE(2, 48);
  return cab;
}

describe('a broken cabinet', () => {
  for (const [code, what, edit] of BROKEN)
    it(`${code}: ${what}`, () => {
      const bytes = Buffer.from(SOUND);
      return assert.rejects(unpack(edit(bytes) ?? bytes), { code });
    });

  it('is refused or read to its end wherever it is cut off, and whichever byte is changed', async () => {
    for (let at = 0; at < SOUND.length; at += 1) {
      await assert.rejects(unpack(SOUND.subarray(0, at)), isInvalid);
      for (const value of [0, 0xff, (SOUND[at] ?? 0) ^ 1]) {
        const bytes = Buffer.from(SOUND);
        bytes.writeUInt8(value, at);
        await unpack(bytes).catch((error: unknown) => assert(isInvalid(error), String(error)));
      }
    }
  });

  it('is sound without these changes', async () => {
    assert.equal(await unpack(SOUND), 31);
  });
});

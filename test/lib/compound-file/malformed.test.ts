/** Compound files that are broken in one place each: a named error, without a long search and without much memory. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { BufferSource } from '../../../src/lib/bytes/byte-source.ts';
import { openCompoundFile } from '../../../src/lib/compound-file/compound-file.ts';
import { makeCompoundFile, type MadeFile } from './make-compound-file.ts';

const content = (length: number): Buffer => Buffer.alloc(length, 7);

const ROOT: MadeFile['root'] = {
  children: [
    { name: 'a', content: content(100) },
    { name: 'b', content: content(5000) },
    { name: 'c', content: content(200) },
    { name: 'd', content: content(4096) },
    { name: 'Folder', children: [{ name: 'x', content: content(10) }] },
  ],
};

const FREE = 0xffffffff;
const END = 0xfffffffe;

/** A sound file, and where its parts are. */
class Made {
  readonly bytes: Buffer;
  readonly size: number;

  constructor(version: 3 | 4 = 3) {
    this.bytes = makeCompoundFile({ version, root: ROOT });
    this.size = version === 3 ? 512 : 4096;
  }

  header(at: number): number {
    return this.bytes.readUInt32LE(at);
  }

  sector(sector: number): number {
    return (sector + 1) * this.size;
  }

  /** The offset of an entry of the FAT. */
  fat(sector: number): number {
    return this.sector(this.header(76)) + sector * 4;
  }

  miniFat(sector: number): number {
    return this.sector(this.header(60)) + sector * 4;
  }

  /** The offset of a directory entry, by its number. */
  entry(index: number): number {
    let sector = this.header(48);
    const perSector = this.size / 128;
    for (let skipped = 0; skipped < Math.floor(index / perSector); skipped += 1)
      sector = this.bytes.readUInt32LE(this.fat(sector));
    return this.sector(sector) + (index % perSector) * 128;
  }

  startOf(index: number): number {
    return this.bytes.readUInt32LE(this.entry(index) + 116);
  }

  set(at: number, value: number): this {
    this.bytes.writeUInt32LE(value, at);
    return this;
  }

  set16(at: number, value: number): this {
    this.bytes.writeUInt16LE(value, at);
    return this;
  }

  set8(at: number, value: number): this {
    this.bytes.writeUInt8(value, at);
    return this;
  }

  link(index: number, link: 'left' | 'right' | 'child', to: number): this {
    return this.set(this.entry(index) + { left: 68, right: 72, child: 76 }[link], to);
  }
}

type Case = readonly [what: string, code: string, broken: () => Buffer];

const made =
  (change: (file: Made) => Made, version: 3 | 4 = 3) =>
  (): Buffer =>
    change(new Made(version)).bytes;
const cut = (length: (file: Made) => number) => (): Buffer => {
  const file = new Made();
  return file.bytes.subarray(0, length(file));
};

// Entries: 0 root, 1 a, 2 b, 3 c, 4 d, 5 Folder, 6 x. The root's tree: c above b above a, and Folder above d.
const CASES: readonly Case[] = [
  ['an empty file', 'cfb-no-header', () => Buffer.alloc(0)],
  ['half a header', 'cfb-no-header', cut(() => 256)],
  ['another signature', 'cfb-no-header', made((file) => file.set8(3, 0))],
  ['only the header', 'cfb-truncated', cut(() => 512)],
  ['version 5', 'cfb-header', made((file) => file.set16(26, 5))],
  ['big-endian order', 'cfb-header', made((file) => file.set16(28, 0xfeff))],
  ['version 3 with sectors of 4096 bytes', 'cfb-header', made((file) => file.set16(30, 12))],
  ['version 4 with sectors of 512 bytes', 'cfb-header', made((file) => file.set16(30, 9), 4)],
  ['mini sectors of 32 bytes', 'cfb-header', made((file) => file.set16(32, 5))],
  ['another cutoff of small streams', 'cfb-header', made((file) => file.set(56, 8192))],
  ['a count of directory sectors in version 3', 'cfb-header', made((file) => file.set(40, 1))],
  ['a wrong count of directory sectors', 'cfb-header', made((file) => file.set(40, 9), 4)],
  ['no FAT', 'cfb-fat', made((file) => file.set(44, 0))],
  ['more FAT sectors than the file has', 'cfb-truncated', made((file) => file.set(44, 1000))],
  ['billions of FAT sectors', 'cfb-too-large', made((file) => file.set(44, 0xfffffff0))],
  ['more FAT sectors than are listed', 'cfb-fat', made((file) => file.set(44, 2))],
  ['a FAT sector that the count leaves out', 'cfb-fat', made((file) => file.set(80, 1))],
  ['a FAT sector beyond the end', 'cfb-truncated', made((file) => file.set(76, 5000))],
  [
    'a FAT sector that is not marked as one',
    'cfb-fat',
    made((file) => file.set(file.fat(file.header(76)), END)),
  ],
  ['a list of FAT sectors that is not needed', 'cfb-fat', made((file) => file.set(72, 3))],
  ['a list of FAT sectors without an end', 'cfb-fat', made((file) => file.set(68, 1))],
  ['a list of FAT sectors beyond the end', 'cfb-fat', made((file) => file.set(68, 9999).set(72, 1))],
  ['no directory', 'cfb-directory', made((file) => file.set(48, END))],
  ['a directory beyond the end', 'cfb-chain', made((file) => file.set(48, 70_000))],
  [
    'a directory that is a loop',
    'cfb-chain',
    made((file) => file.set(file.fat(file.header(48)), file.header(48))),
  ],
  [
    'a directory that ends in free space',
    'cfb-chain',
    made((file) => file.set(file.fat(file.header(48)), FREE)),
  ],
  ['a directory in the FAT', 'cfb-chain', made((file) => file.set(48, file.header(76)))],
  ['no root', 'cfb-directory', made((file) => file.set8(file.entry(0) + 66, 2))],
  ['a root with siblings', 'cfb-directory', made((file) => file.link(0, 'left', 1))],
  ['a link beyond the directory', 'cfb-directory', made((file) => file.link(3, 'left', 4000))],
  ['an entry that is its own child', 'cfb-directory', made((file) => file.link(3, 'left', 3))],
  ['a loop of siblings', 'cfb-directory', made((file) => file.link(1, 'left', 3))],
  ['an entry in two storages', 'cfb-directory', made((file) => file.link(5, 'child', 1))],
  ['a storage that holds itself', 'cfb-directory', made((file) => file.link(5, 'child', 5))],
  ['the root below itself', 'cfb-directory', made((file) => file.link(1, 'right', 0))],
  ['a stream with children', 'cfb-directory', made((file) => file.link(1, 'child', 6))],
  ['a link to an unused entry', 'cfb-directory', made((file) => file.link(1, 'right', 7))],
  ['an entry of type 3', 'cfb-directory', made((file) => file.set8(file.entry(1) + 66, 3))],
  ['an entry of colour 2', 'cfb-directory', made((file) => file.set8(file.entry(1) + 67, 2))],
  ['names out of order', 'cfb-directory', made((file) => file.set16(file.entry(1), 0x7a))],
  ['a name twice, in upper case', 'cfb-directory', made((file) => file.set16(file.entry(1), 0x42))],
  ['a name of odd length', 'cfb-directory', made((file) => file.set16(file.entry(1) + 64, 5))],
  ['a name of 66 bytes', 'cfb-directory', made((file) => file.set16(file.entry(1) + 64, 66))],
  ['an empty name', 'cfb-directory', made((file) => file.set16(file.entry(1) + 64, 2))],
  [
    'a name that is longer than its length',
    'cfb-directory',
    made((file) => file.set16(file.entry(1) + 2, 0x61)),
  ],
  ['a name with a zero inside', 'cfb-directory', made((file) => file.set16(file.entry(5) + 2, 0))],
  ['a stream beyond the end', 'cfb-chain', made((file) => file.set(file.entry(2) + 116, 9000))],
  [
    'a stream in the sectors of another',
    'cfb-chain',
    made((file) => file.set(file.entry(4) + 116, file.startOf(2))),
  ],
  [
    'a stream that runs into another',
    'cfb-chain',
    made((file) => file.set(file.fat(file.startOf(2)), file.startOf(4))),
  ],
  [
    'a stream that is a loop',
    'cfb-chain',
    made((file) => file.set(file.fat(file.startOf(2)), file.startOf(2))),
  ],
  ['a stream in the FAT', 'cfb-chain', made((file) => file.set(file.entry(2) + 116, file.header(76)))],
  ['a stream with too few sectors', 'cfb-chain', made((file) => file.set(file.fat(file.startOf(2)), END))],
  [
    'a stream that is longer than its sectors',
    'cfb-chain',
    made((file) => file.set(file.entry(2) + 120, 6000)),
  ],
  ['a stream of 2 GiB', 'cfb-chain', made((file) => file.set(file.entry(2) + 120, 0x7fffffff))],
  ['a stream of 2^60 bytes', 'cfb-chain', made((file) => file.set(file.entry(2) + 124, 0x10000000), 4)],
  ['a small stream that is a large one', 'cfb-chain', made((file) => file.set(file.entry(2) + 120, 100))],
  ['a small stream beyond the mini stream', 'cfb-chain', made((file) => file.set(file.entry(1) + 116, 700))],
  [
    'small streams in the same mini sectors',
    'cfb-chain',
    made((file) => file.set(file.entry(3) + 116, file.startOf(1))),
  ],
  [
    'a small stream that is a loop',
    'cfb-chain',
    made((file) => file.set(file.miniFat(file.startOf(1)), file.startOf(1))),
  ],
  ['no mini FAT', 'cfb-chain', made((file) => file.set(64, 0))],
  ['more mini FAT sectors than there are', 'cfb-header', made((file) => file.set(64, 4))],
  ['a mini FAT in the directory', 'cfb-chain', made((file) => file.set(60, file.header(48)))],
  [
    'a mini stream that is longer than its sectors',
    'cfb-chain',
    made((file) => file.set(file.entry(0) + 120, 5000)),
  ],
  ['a mini stream without sectors', 'cfb-chain', made((file) => file.set(file.entry(0) + 116, END))],
  ['a file that ends in a large stream', 'cfb-truncated', cut((file) => file.sector(3) + 20)],
  ['a file that ends before its last sector', 'cfb-truncated', cut((file) => file.bytes.length - 512)],
  ['a file that ends inside its FAT', 'cfb-truncated', cut((file) => file.bytes.length - 1)],
];

it('is sound before anything is broken', async () => {
  for (const version of [3, 4] as const)
    await openCompoundFile(new BufferSource(new Made(version).bytes, 'a.msi'));
});

for (const [what, code, broken] of CASES)
  it(`${code}: ${what}`, () =>
    assert.rejects(openCompoundFile(new BufferSource(broken(), 'a.msi')), { code }));

it('cfb-too-large: storages in storages without an end', async () => {
  let inner: MadeFile['root']['children'] = [];
  for (let depth = 0; depth < 40; depth += 1) inner = [{ name: `s${depth}`, children: inner }];
  const bytes = makeCompoundFile({ version: 3, root: { children: inner } });
  await assert.rejects(openCompoundFile(new BufferSource(bytes, 'a.msi')), { code: 'cfb-too-large' });
});

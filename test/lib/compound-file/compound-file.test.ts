import assert from 'node:assert/strict';
import { it } from 'node:test';
import { BufferSource } from '../../../src/lib/bytes/byte-source.ts';
import { sha256Hex, sha256OfSource } from '../../../src/lib/bytes/hash.ts';
import { entriesIn, openCompoundFile, streamsIn } from '../../../src/lib/compound-file/compound-file.ts';
import { filler, makeCompoundFile, type MadeFile } from './make-compound-file.ts';

const SIZES = [0, 1, 63, 64, 65, 4095, 4096, 4097, 100_000];

const fileWith = (options: Partial<MadeFile>): MadeFile => ({
  version: 3,
  root: {
    children: [
      ...SIZES.map((size) => ({ name: `s${size}`, content: filler(size, size) })),
      {
        name: 'Folder',
        children: [
          { name: 'inner', content: filler(5000) },
          { name: 'Deep', children: [] },
        ],
      },
    ],
  },
  ...options,
});

const VARIANTS: readonly [string, Partial<MadeFile>][] = [
  ['version 3', {}],
  ['version 4', { version: 4 }],
  ['free sectors, mini sectors and entries', { freeSectors: 3, freeMiniSectors: 5, unusedEntries: 4 }],
  ['siblings in a list', { list: true }],
];

for (const [name, options] of VARIANTS)
  it(`reads every stream of a compound file: ${name}`, async () => {
    const file = await openCompoundFile(new BufferSource(makeCompoundFile(fileWith(options)), 'a.msi'));
    const sums = new Map<string, string>();
    for (const stream of streamsIn(file.root))
      sums.set(stream.name, await sha256OfSource(file.openStream(stream)));
    for (const size of SIZES) assert.equal(sums.get(`s${size}`), sha256Hex(filler(size, size)));
    assert.equal(sums.get('inner'), sha256Hex(filler(5000)));
    const storages = [...entriesIn(file.root)].filter(({ kind }) => kind === 'storage');
    assert.deepEqual(storages.map((each) => each.name).sort(), ['Deep', 'Folder']);
  });

it('reads any part of a stream in scattered sectors', async () => {
  const made = makeCompoundFile(fileWith({ freeSectors: 2 }));
  const file = await openCompoundFile(new BufferSource(made, 'a.msi'));
  const stream = [...streamsIn(file.root)].find(({ name }) => name === 's4095');
  assert.ok(stream);
  const source = file.openStream(stream);
  for (const [from, length] of [
    [0, 4095],
    [60, 10],
    [511, 2],
    [4094, 1],
    [4095, 0],
  ] as const)
    assert.deepEqual(await source.read(from, length), filler(4095, 4095).subarray(from, from + length));
  await assert.rejects(source.read(4090, 6), RangeError);
});

it('reads an allocation table that its header cannot list (DIFAT)', async () => {
  const content = filler(8 * 1024 * 1024);
  const made = makeCompoundFile({ version: 3, root: { children: [{ name: 'big', content }] } });
  const file = await openCompoundFile(new BufferSource(made, 'a.msi'));
  assert.equal(file.layout.fat.difatSectors.length, 1);
  const [stream] = streamsIn(file.root);
  assert.ok(stream);
  assert.equal(await sha256OfSource(file.openStream(stream)), sha256Hex(content));
});

it('reads a small stream in the last mini sector, even if the size of the mini stream ends inside of it', async () => {
  const made = makeCompoundFile({ version: 3, root: { children: [{ name: 'a', content: filler(100) }] } });
  const root = (made.readUInt32LE(48) + 1) * 512;
  made.writeUInt32LE(101, root + 120);
  const file = await openCompoundFile(new BufferSource(made, 'a.msi'));
  const [stream] = streamsIn(file.root);
  assert.ok(stream);
  assert.deepEqual(await file.openStream(stream).read(0, 100), filler(100));
});

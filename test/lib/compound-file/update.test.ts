import assert from 'node:assert/strict';
import { it } from 'node:test';
import { BufferSource } from '../../../src/lib/bytes/byte-source.ts';
import { openCompoundFile, streamsIn } from '../../../src/lib/compound-file/compound-file.ts';
import { updateCompoundFile } from '../../../src/lib/compound-file/update.ts';
import { checkStructure } from './check-structure.ts';
import { filler, makeCompoundFile, type MadeFile } from './make-compound-file.ts';

interface Edit {
  readonly remove?: readonly string[];
  readonly write?: readonly (readonly [string, Buffer])[];
}

async function edit(file: Buffer, { remove = [], write = [] }: Edit): Promise<Buffer> {
  const open = await openCompoundFile(new BufferSource(file, 'a.msi'));
  const streams = [...streamsIn(open.root)];
  const updated = await updateCompoundFile(open, {
    remove: remove.map((name) => streams.find((each) => each.name === name) ?? assert.fail(name)),
    write: write.map(([name, content]) => ({ name, content: new BufferSource(content, name) })),
  });
  return updated.read(0, updated.size);
}

const ORIGINAL: MadeFile['root'] = {
  children: [
    { name: 'small', content: filler(100, 1) },
    { name: 'large', content: filler(9000, 2) },
    { name: 'Folder', children: [{ name: 'inner', content: filler(70, 3) }] },
  ],
};

const EDITS: readonly [string, Edit][] = [
  ['adds a small stream', { write: [['new', filler(500)]] }],
  ['adds a large stream', { write: [['new', filler(5000)]] }],
  [
    'adds streams of the sizes at which their place changes',
    {
      write: [0, 1, 64, 65, 4095, 4096, 4097].map((size) => [`s${size}`, filler(size)] as const),
    },
  ],
  ['removes a small stream', { remove: ['small'] }],
  ['removes a large stream', { remove: ['large'] }],
  ['gives a small stream more content', { write: [['small', filler(3000)]] }],
  ['makes a small stream large', { write: [['small', filler(6000)]] }],
  ['makes a large stream small', { write: [['large', filler(60)]] }],
  ['gives a large stream other content', { write: [['large', filler(9000, 9)]] }],
  ['empties a stream', { write: [['large', Buffer.alloc(0)]] }],
  ['removes one and adds another', { remove: ['large'], write: [['another', filler(4500)]] }],
];

const FILES: readonly [string, Partial<MadeFile>][] = [
  ['version 3', {}],
  ['version 4', { version: 4 }],
  ['free places', { freeSectors: 3, freeMiniSectors: 2, unusedEntries: 1 }],
];

for (const [kind, options] of FILES)
  for (const [what, change] of EDITS)
    it(`${what}: ${kind}`, async () => {
      const file = makeCompoundFile({ version: 3, root: ORIGINAL, ...options });
      const before = checkStructure(file);
      const after = checkStructure(await edit(file, change));
      const expected = new Map(before.streams);
      change.remove?.forEach((name) => expected.delete(name));
      change.write?.forEach(([name, content]) => expected.set(name, content));
      assert.deepEqual(after.streams, expected);
    });

it('takes the lowest free sectors, mini sectors and entries, and leaves everything else in place', async () => {
  const file = makeCompoundFile({
    version: 3,
    root: ORIGINAL,
    freeSectors: 20,
    freeMiniSectors: 4,
    unusedEntries: 2,
  });
  const edited = await edit(file, {
    write: [
      ['a', filler(200)],
      ['b', filler(9999)],
    ],
  });
  const open = await openCompoundFile(new BufferSource(edited, 'a.msi'));
  const [a, b] = ['a', 'b'].map((name) => [...streamsIn(open.root)].find((each) => each.name === name));
  assert.deepEqual([a?.index, b?.index], [1, 2]);
  assert.deepEqual([...(open.layout.chains.get(1)?.sectors() ?? [])], [0, 1, 2, 3]);
  assert.deepEqual(
    [...(open.layout.chains.get(2)?.sectors() ?? [])],
    Array.from({ length: 20 }, (_, at) => at),
  );
  assert.equal(edited.length, file.length);
});

it('adds sectors to the directory and to the mini FAT', async () => {
  const file = makeCompoundFile({ version: 3, root: ORIGINAL });
  const write = Array.from({ length: 200 }, (_, at) => [`stream ${at}`, filler(at, at)] as const);
  const after = checkStructure(await edit(file, { write }));
  assert.deepEqual([after.directorySectors, after.miniFatSectors > 1, after.entries], [52, true, 205]);
  for (const [name, content] of write) assert.deepEqual(after.streams.get(name), content);
});

for (const [what, size, expected] of [
  ['FAT', 7_000_000, [108, 0]],
  ['DIFAT', 7_200_000, [111, 1]],
] as const)
  it(`adds sectors to the ${what}`, async () => {
    const file = makeCompoundFile({ version: 3, root: ORIGINAL });
    const after = checkStructure(await edit(file, { write: [['new', Buffer.alloc(size, 7)]] }));
    assert.deepEqual([after.fatSectors, after.difatSectors], expected);
    assert.equal(after.streams.get('new')?.length, size);
  });

it('adds to a file that has no mini stream', async () => {
  const file = makeCompoundFile({ version: 4, root: { children: [] } });
  const after = checkStructure(
    await edit(file, {
      write: [
        ['a', filler(10)],
        ['b', filler(5000)],
      ],
    }),
  );
  assert.deepEqual([...after.streams.keys()].sort(), ['a', 'b']);
});

it('leaves nothing of a stream that it removes, and gives its sectors at the end back', async () => {
  const file = makeCompoundFile({ version: 3, root: ORIGINAL });
  const secret = Buffer.from('a secret of several words, said again and again. '.repeat(200));
  const added = await edit(file, {
    write: [
      ['x', secret.subarray(0, 3000)],
      ['y', secret],
    ],
  });
  const removed = await edit(added, { remove: ['x', 'y'] });
  assert.equal(removed.includes('secret'), false);
  assert.deepEqual(checkStructure(removed).streams, checkStructure(file).streams);
  assert.ok(removed.length < added.length - 9000);
});

it('gives back the very file from before, if streams that were added last are removed', async () => {
  let file = makeCompoundFile({ version: 4, root: { children: [] }, freeSectors: 1 });
  for (const name of ['one', 'three', 'eleven', 'two', 'seventeen', 'x', 'y', 'thirty'])
    file = await edit(file, { write: [[name, filler(300, name.length)]] });
  const added = await edit(file, {
    write: [
      ['MsiDigital', filler(32)],
      ['Digital', filler(5000)],
    ],
  });
  assert.deepEqual(await edit(added, { remove: ['MsiDigital', 'Digital'] }), file);
});

it('keeps a sound file through many changes at random', async () => {
  let seed = 12345;
  const random = (below: number): number => {
    seed = (seed * 1103515245 + 12345) & 0x7fffffff;
    return (seed >> 8) % below;
  };
  let file = makeCompoundFile({ version: 3, root: ORIGINAL });
  const expected = checkStructure(file).streams;
  for (let round = 0; round < 60; round += 1) {
    const names = [...expected.keys()].filter((name) => !name.includes('/'));
    const remove = names.filter(() => random(6) === 0);
    const write = Array.from({ length: random(4) }, () => {
      const name = random(2) === 0 ? (names[random(names.length)] ?? 'new') : `stream${random(1000)}`;
      return [name, filler(random(random(2) === 0 ? 300 : 12_000), round)] as const;
    }).filter(([name], at, all) => all.findIndex(([other]) => other === name) === at);
    remove.forEach((name) => expected.delete(name));
    write.forEach(([name, content]) => expected.set(name, content));
    file = await edit(file, { remove, write });
    assert.deepEqual(checkStructure(file).streams, expected);
  }
});

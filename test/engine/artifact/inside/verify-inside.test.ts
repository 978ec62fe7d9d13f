/** Verifying and proving files with containers in them, also if they were tampered with. */
import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { compilePatterns } from '../../../../src/engine/artifact/globs.ts';
import { shownPlace } from '../../../../src/engine/artifact/inside/place.ts';
import { boxOf } from '../../formats/box-file.ts';
import { fileAt, makeNesting, program, zipOf, type Nesting, type Tried } from './nesting.ts';

let world: Nesting;
const original = boxOf({ 'a.exe': program(1), 'b.exe': program(2), 'data.bin': Buffer.from('data') });
let signed: Tried;
before(async () => {
  world = await makeNesting();
  signed = await world.sign('a.box', original);
});
after(() => rm(world.folder, { recursive: true }));

const at = (bytes: Buffer, ...names: string[]): Promise<Buffer> => fileAt(world.folder, bytes, ...names);

describe('verify', () => {
  it('names unsigned programs in a signed container, which stays intact', async () => {
    const { bytes } = await world.sign('b.box', original, { inside: 'report' });
    const { status, unsignedInside, programs } = await world.verify('b.box', bytes);
    assert.deepEqual([status, unsignedInside.map(shownPlace)], ['intact', ['a.exe', 'b.exe']]);
    assert.deepEqual(
      programs.map((each) => each.status),
      ['intact', 'unsigned', 'unsigned'],
    );
  });

  it('names none if the container is not signed itself', async () => {
    const { unsignedInside, status } = await world.verify('c.box', original);
    assert.deepEqual([status, unsignedInside], ['unsigned', []]);
  });

  it('a program inside that the patterns name is marked as one that must be good', async () => {
    const { bytes } = await world.sign('d.zip', zipOf({ 'x.box': original }), { inside: 'report' });
    const isMeant = compilePatterns(['x.box!/a.exe']);
    const { programs } = await world.verify('d.zip', bytes, { isMeant });
    assert.deepEqual(programs.filter(({ meant }) => meant).map(shownPlace), ['x.box!/a.exe']);
  });

  it('a bad signature inside makes the file bad', async () => {
    const bad = Buffer.from(await at(signed.bytes, 'a.exe'));
    bad.writeUInt8(bad.readUInt8(1200) ^ 1, 1200);
    const { bytes } = await world.sign('e.box', boxOf({ 'a.exe': bad }), { inside: 'ignore' });
    const report = await world.verify('e.box', bytes);
    assert.equal(report.status, 'bad');
    assert.equal((await world.verify('e.zip', zipOf({ 'i.zip': zipOf({ 'e.box': bytes }) }))).status, 'bad');
  });

  it('a damaged member that may be a program makes the file bad; other ones do not', async () => {
    const cut = (name: string): Buffer => boxOf({ [name]: program(1) }, {}, { [name]: 1e5 });
    for (const [name, status] of [
      ['a.exe', 'bad'],
      ['a.txt', 'intact'],
    ] as const) {
      const { bytes } = await world.sign('f.box', cut(name), { inside: 'ignore' });
      assert.equal((await world.verify('f.box', bytes)).status, status, name);
    }
  });
});

describe('the proof that only signatures were added', () => {
  const refused = (name: string, was: Buffer, is: Buffer, code: string): Promise<void> =>
    assert.rejects(world.prove(name, was, is), { code });

  /** A box signed as a whole, with these files in it. */
  const sealed = async (files: Record<string, Buffer>): Promise<Buffer> =>
    (await world.sign('x.box', boxOf(files), { inside: 'ignore' })).bytes;

  it('holds if only some members were signed, or none', async () => {
    const a = await at(signed.bytes, 'a.exe');
    const data = Buffer.from('data');
    const some = await sealed({ 'a.exe': a, 'b.exe': program(2), 'data.bin': data });
    assert.deepEqual((await world.prove('x.box', original, some)).signed.map(shownPlace), ['a.exe', '']);
    const none = await sealed({ 'a.exe': program(1), 'b.exe': program(2), 'data.bin': data });
    assert.deepEqual((await world.prove('x.box', original, none)).signed, [{ path: '' }]);
  });

  it('strip-…: a member was changed, whether or not others were signed', async () => {
    const a = await at(signed.bytes, 'a.exe');
    const changed = program(2);
    changed.writeUInt8(changed.readUInt8(1200) ^ 1, 1200);
    const files = { 'a.exe': a, 'b.exe': changed, 'data.bin': Buffer.from('data') };
    await assert.rejects(world.prove('x.box', original, await sealed(files)), {
      code: /^(?:strip|unsigned|not-signed)/,
    });
  });

  it('not-signable: data was changed', async () => {
    const [a, b] = [await at(signed.bytes, 'a.exe'), await at(signed.bytes, 'b.exe')];
    const files = { 'a.exe': a, 'b.exe': b, 'data.bin': Buffer.from('date') };
    await refused('x.box', original, await sealed(files), 'not-signable');
  });

  it('inside-differs: a member was added, left out or renamed', async () => {
    const [a, b] = [await at(signed.bytes, 'a.exe'), await at(signed.bytes, 'b.exe')];
    const data = Buffer.from('data');
    const others: Record<string, Buffer>[] = [
      { 'a.exe': a, 'b.exe': b },
      { 'a.exe': a, 'b.exe': b, 'data.bin': data, 'more.bin': data },
      { 'a.exe': a, 'B.exe': b, 'data.bin': data },
      { 'b.exe': b, 'a.exe': a, 'data.bin': data },
    ];
    for (const files of others) await refused('x.box', original, await sealed(files), 'inside-differs');
  });

  it('archive-differs: a zip inside was packed otherwise', async () => {
    const inner = zipOf({ 'a.exe': program(1), 'b.txt': Buffer.from('b') });
    const was = zipOf({ 'i.zip': inner });
    const { bytes } = await world.sign('i.zip', was);
    const a = await at(bytes, 'i.zip', 'a.exe');
    const swapped = zipOf({ 'i.zip': zipOf({ 'b.txt': Buffer.from('b'), 'a.exe': a }) });
    await refused('i.zip', was, swapped, 'archive-differs');
  });

  it('not-the-same-kind: a zip inside became a program', async () => {
    const was = zipOf({ 'i.zip': zipOf({ 'a.exe': program(1) }) });
    await refused('i.zip', was, zipOf({ 'i.zip': program(1) }), 'not-the-same-kind');
  });
});

describe('attaching what a receipt holds', () => {
  it('rebuild-differs: a program inside is not there, or is another one', async () => {
    const { signed: file } = signed;
    await assert.rejects(world.attach('a.box', boxOf({ 'b.exe': program(2) }), file.signed.slice(0, 2)), {
      code: 'rebuild-differs',
    });
    const other = boxOf({ 'a.exe': program(5), 'b.exe': program(2), 'data.bin': Buffer.from('data') });
    const inner = file.signed.filter(({ path }) => path !== '');
    await assert.rejects(
      world.attach(
        'a.zip',
        zipOf({ 'x.box': other }),
        inner.map((each) => ({ ...each, inside: ['x.box'] })),
      ),
      {
        code: 'rebuild-differs',
        message: /a\.exe: SHA-256/,
      },
    );
  });

  it('attached-differs: the container’s signature alone does not make the signed file', async () => {
    const [whole] = signed.signed.signed.slice(-1);
    await assert.rejects(world.attach('a.box', original, whole ? [whole] : []), { code: 'attached-differs' });
  });
});

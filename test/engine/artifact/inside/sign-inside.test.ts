/** Programs inside of containers are signed before the container: how, in which order, and how that is taken back. */
import assert from 'node:assert/strict';
import { readdir, rm } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { shownPlace } from '../../../../src/engine/artifact/inside/place.ts';
import { compilePatterns } from '../../../../src/engine/artifact/globs.ts';
import { attachToRemoteZip } from '../../../../src/engine/artifact/attach-file.ts';
import { signRemoteZip } from '../../../../src/engine/artifact/sign-zip.ts';
import { BufferSource } from '../../../../src/lib/bytes/byte-source.ts';
import { PatchedSource } from '../../../../src/lib/bytes/patched-source.ts';
import { sha256Hex } from '../../../../src/lib/bytes/hash.ts';
import { filler } from '../../../fixtures/pe.ts';
import { boxOf } from '../../formats/box-file.ts';
import { fileAt, isSigned, makeNesting, program, zipOf, type Nesting } from './nesting.ts';

let world: Nesting;
before(async () => {
  world = await makeNesting();
});
after(() => rm(world.folder, { recursive: true }));

/** Three levels: a box in a zip in a box, with files at each of them. */
const nested = (): Buffer =>
  boxOf({
    'top.exe': program(1),
    'tools.zip': zipOf({
      'inner.box': boxOf({ 'deep.exe': program(2), 'data.bin': filler(60) }),
      'mid.exe': program(3),
      'readme.txt': Buffer.from('text'),
    }),
  });

const CASES: readonly (readonly [what: string, name: string, file: () => Buffer, places: string[]])[] = [
  [
    'a zip in a zip',
    'a.zip',
    () =>
      zipOf({
        'b.exe': program(2),
        'tools.zip': zipOf({ 'bin/a.exe': program(1), 'readme.txt': Buffer.from('text') }),
      }),
    ['b.exe', 'tools.zip!/bin/a.exe'],
  ],
  [
    'a zip that holds nothing but a zip',
    'b.zip',
    () => zipOf({ 'c.zip': zipOf({ 'a.exe': program(1) }) }),
    ['c.zip!/a.exe'],
  ],
  ['a container', 'a.box', () => boxOf({ 'a.exe': program(1), 'data.bin': filler(50) }), ['a.exe', '']],
  [
    'a container in a zip',
    'c.zip',
    () => zipOf({ 'setup/a.box': boxOf({ 'a.exe': program(1) }), 'x.exe': program(2) }),
    ['setup/a.box!/a.exe', 'setup/a.box', 'x.exe'],
  ],
  [
    'three levels',
    'n.box',
    nested,
    ['top.exe', 'tools.zip!/inner.box!/deep.exe', 'tools.zip!/inner.box', 'tools.zip!/mid.exe', ''],
  ],
];

describe('with inside: sign', () => {
  for (const [what, name, make, places] of CASES)
    it(`${what} is planned, signed from the inside out, verified, proven, and made again`, async () => {
      const file = make();
      const { plan, signed, bytes, places: signedPlaces } = await world.sign(name, file);
      assert.deepEqual(signedPlaces, places);
      assert.deepEqual(plan.steps.filter(({ action }) => action === 'sign').map(shownPlace), places);
      const report = await world.verify(name, bytes);
      assert.deepEqual([report.status, report.unread, report.unsignedInside], ['intact', [], []]);
      assert.ok(report.programs.every(({ status }) => status === 'intact'));
      assert.equal(report.programs.length, places.length);
      const proof = await world.prove(name, file, bytes);
      assert.deepEqual(proof.signed.map(shownPlace).sort(), places.toSorted());
      assert.deepEqual(await world.attach(name, file, signed.signed), bytes);
      assert.equal(signed.output.sha256, sha256Hex(bytes));
    });

  it('what is not ours stays as it is, and the receipt’s digests are those of the files', async () => {
    const file = zipOf({ 'n.box': nested() });
    const { signed, bytes } = await world.sign('d.zip', file);
    const at = (...names: string[]): Promise<Buffer> => fileAt(world.folder, bytes, ...names);
    assert.equal((await at('n.box', 'tools.zip', 'readme.txt')).toString(), 'text');
    assert.deepEqual(await at('n.box', 'tools.zip', 'inner.box', 'data.bin'), filler(60));
    for (const { path, inside = [], before: was, after: is } of signed.signed) {
      const [then, now] = [await fileAt(world.folder, file, ...inside, path), await at(...inside, path)];
      assert.deepEqual([was, is], [contentsOf(then), contentsOf(now)], path);
      assert.ok(await isSigned(now));
    }
  });

  it('the plan names every step, innermost first, and its size', async () => {
    const inner = zipOf({ 'a.exe': program(1) });
    const { plan } = await world.sign('e.zip', zipOf({ 'i.zip': inner, 'b.exe': program(2) }));
    assert.deepEqual(plan, {
      kind: 'zip',
      entries: 2,
      kept: [],
      leftAlone: [],
      unsignedInside: [],
      steps: [
        { path: 'a.exe', inside: ['i.zip'], action: 'sign', format: 'pe', size: program(1).length },
        { path: 'i.zip', action: 'pack', format: 'zip', size: inner.length },
        { path: 'b.exe', action: 'sign', format: 'pe', size: program(2).length },
      ],
    });
  });

  it('the same program in two containers is signed once', async () => {
    const { signed } = await world.sign(
      'f.zip',
      zipOf({ 'a.zip': zipOf({ 'x.exe': program(1) }), 'b.box': boxOf({ 'y.exe': program(1) }) }),
    );
    const [x, y] = signed.signed;
    assert.deepEqual(x?.signature, y?.signature);
    assert.notDeepEqual([x?.path, x?.inside], [y?.path, y?.inside]);
  });

  it('programs that others signed are kept, as outside', async () => {
    const { bytes: theirs } = await world.sign('t.exe', program(7));
    const { signed, places } = await world.sign(
      'g.zip',
      zipOf({ 'i.zip': zipOf({ 't.exe': theirs, 'a.exe': program(1) }) }),
    );
    assert.deepEqual(places, ['i.zip!/a.exe']);
    assert.deepEqual(signed.kept.map(shownPlace), ['i.zip!/t.exe']);
    await assert.rejects(
      world.sign('h.zip', zipOf({ 'i.zip': zipOf({ 't.exe': theirs }) }), { alreadySigned: 'reject' }),
      { code: 'already-signed', message: /i\.zip!\/t\.exe/ },
    );
  });

  it('a container that is kept stays closed, and nothing in it changes', async () => {
    const { bytes: theirs } = await world.sign('t.box', boxOf({ 'a.exe': program(1) }), { inside: 'ignore' });
    const { places, signed } = await world.sign('i.zip', zipOf({ 't.box': theirs, 'b.exe': program(2) }));
    assert.deepEqual([places, signed.kept.map(shownPlace)], [['b.exe'], ['t.box']]);
  });

  it('of a container that is not ours, nothing is signed', async () => {
    const { places, signed } = await world.sign(
      'j.zip',
      zipOf({ 'i.zip': zipOf({ 't.box': boxOf({ 'a.exe': program(1) }) }), 'b.exe': program(2) }),
      { isOurs: compilePatterns(['**/*.exe']) },
    );
    assert.deepEqual(places, ['b.exe']);
    assert.deepEqual(signed.unsignedInside.map(shownPlace), ['i.zip!/t.box', 'i.zip!/t.box!/a.exe']);
  });

  it('in a zip elsewhere, of which only pinned entries are read, and once more for a delivery that was interrupted', async () => {
    const parts = { 'a.exe': program(1), 'i.zip': zipOf({ 'b.exe': program(2) }), 'n.box': nested() };
    const file = zipOf({ ...parts, 'unread.bin': filler(5000) });
    const remote = Object.assign(new BufferSource(file, 'r.zip'), { prefetch: () => undefined });
    const pins = new Map(Object.entries(parts).map(([path, bytes]) => [path, sha256Hex(bytes)]));
    const options = { ...world.options, inside: 'sign' as const, pins };
    const signed = await signRemoteZip(remote, `${world.folder}/new`, options);
    assert.ok(signed?.newBytes);
    const wanted = signed.signed.map((each) => ({
      ...{ path: each.path, inside: each.inside, signature: each.signature },
      ...{ before: each.before.sha256, after: each.after.sha256 },
    }));
    const again = await attachToRemoteZip(remote, wanted, `${world.folder}/again`, options);
    assert.deepEqual([again.delta, again.newBytes], [signed.delta, signed.newBytes]);
    const whole = new PatchedSource(remote, signed.delta, new BufferSource(signed.newBytes, 'new'));
    const bytes = await whole.read(0, whole.size);
    assert.equal((await world.prove('r.zip', file, bytes)).signed.length, signed.signed.length);
  });

  it('nothing is left in the scratch folder', async () => {
    await world.sign('k.zip', zipOf({ 'i.zip': zipOf({ 'a.exe': program(1) }) }));
    assert.deepEqual(
      (await readdir(world.folder)).filter((name) => name.endsWith('.part')),
      [],
    );
  });
});

const contentsOf = (bytes: Buffer): { size: number; sha256: string } => ({
  size: bytes.length,
  sha256: sha256Hex(bytes),
});

describe('patterns', () => {
  const file = (): Buffer =>
    zipOf({ 'a.zip': zipOf({ 'x.exe': program(1) }), 'b.zip': zipOf({ 'x.exe': program(2) }) });
  const CHOICES: readonly (readonly [patterns: string[], places: string[]])[] = [
    [['**/*.exe'], ['a.zip!/x.exe', 'b.zip!/x.exe']],
    [['x.exe'], ['a.zip!/x.exe', 'b.zip!/x.exe']],
    [['a.zip!/*.exe'], ['a.zip!/x.exe']],
    [['**/*.exe', '!b.zip'], ['a.zip!/x.exe']],
    [['**/*.exe', '!b.zip!/**'], ['a.zip!/x.exe']],
  ];
  for (const [patterns, expected] of CHOICES)
    it(`${patterns.join(' ')} means ${expected.join(' and ')}`, async () => {
      const { places } = await world.sign('p.zip', file(), { isOurs: compilePatterns(patterns) });
      assert.deepEqual(places, expected);
    });

  it('excluded zips are named as not examined', async () => {
    const { signed } = await world.sign('q.zip', file(), { isOurs: compilePatterns(['**/*.exe', '!b.zip']) });
    assert.deepEqual(signed.leftAlone, [{ path: 'b.zip', why: 'nested-zip' }]);
  });

  it('not-a-program: a text that they mean, inside too', () =>
    assert.rejects(world.sign('r.zip', zipOf({ 'a.zip': zipOf({ 'x.exe': Buffer.from('text') }) })), {
      code: 'not-a-program',
      message: /r\.zip!\/a\.zip!\/x\.exe/,
    }));
});

/** What each policy does with programs inside of containers, and the bounds of looking into them. */
import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { compilePatterns } from '../../../../src/engine/artifact/globs.ts';
import { shownPlace } from '../../../../src/engine/artifact/inside/place.ts';
import type { SignArtifactOptions } from '../../../../src/engine/artifact/signed-artifact.ts';
import { planFile } from '../../../../src/engine/artifact/plan-file.ts';
import { buildCab } from '../../../fixtures/cab.ts';
import { LIMITS } from '../../../lib/zip/zips.ts';
import { invalid } from '../../../../src/lib/errors.ts';
import type { Container, OpenMember } from '../../../../src/engine/formats/container.ts';
import { FORMATS } from '../../../../src/engine/formats/registry.ts';
import type { FileFormat } from '../../../../src/engine/formats/signable-file.ts';
import { BufferSource, type ByteSource } from '../../../../src/lib/bytes/byte-source.ts';
import { box, boxOf } from '../../formats/box-file.ts';
import { makeNesting, program, zipOf, type Nesting } from './nesting.ts';

let world: Nesting;
let signedProgram: Buffer;
let badProgram: Buffer;
before(async () => {
  world = await makeNesting();
  ({ bytes: signedProgram } = await world.sign('s.exe', program(9)));
  badProgram = Buffer.from(signedProgram);
  badProgram.writeUInt8(badProgram.readUInt8(1200) ^ 1, 1200);
});
after(() => rm(world.folder, { recursive: true }));

const refuses = (
  file: Buffer,
  name: string,
  more: Partial<SignArtifactOptions>,
  error: object,
): Promise<void> => assert.rejects(world.sign(name, file, more), error);

describe('inside: require-signed', () => {
  const options = { inside: 'require-signed' } as const;

  it('signs a container in which all programs are signed', async () => {
    const { places } = await world.sign(
      'a.box',
      boxOf({ 's.exe': signedProgram, 'a.txt': Buffer.from('x') }),
      options,
    );
    assert.deepEqual(places, ['']);
  });

  it('inside-unsigned: names the first, and counts the others; ours or not', () =>
    refuses(boxOf({ 'b.dll': program(1), 'a.exe': program(2) }), 'b.box', options, {
      code: 'inside-unsigned',
      kind: 'not-allowed',
      message: /b\.box: b\.dll, a program inside of it, is not signed \(and 1 more\)$/,
    }));

  it('inside-unsigned: in a zip in a zip', () =>
    refuses(zipOf({ 'x.exe': program(1), 'i.zip': zipOf({ 'a.exe': program(2) }) }), 'c.zip', options, {
      code: 'inside-unsigned',
      message: /i\.zip!\/a\.exe/,
    }));

  it('kept-signature-bad: a bad signature inside', () =>
    refuses(boxOf({ 's.exe': badProgram }), 'd.box', options, { code: 'kept-signature-bad' }));

  it('excepts what a pattern excludes', async () => {
    const isOurs = compilePatterns(['**/*.box', '!**/*.dll']);
    const { places } = await world.sign('e.box', boxOf({ 'b.dll': program(1) }), { ...options, isOurs });
    assert.deepEqual(places, ['']);
  });
});

describe('inside: report, the default', () => {
  it('signs a container as it is, and names the unsigned programs in it', async () => {
    const box = boxOf({
      'a.exe': program(1),
      's.exe': signedProgram,
      'i.zip': zipOf({ 'b.dll': program(2) }),
    });
    const { places, signed } = await world.sign('f.zip', zipOf({ 'a.box': box }), { inside: undefined });
    assert.deepEqual(places, ['a.box']);
    assert.deepEqual(signed.unsignedInside.map(shownPlace), ['a.box!/a.exe', 'a.box!/i.zip!/b.dll']);
  });

  it('does not open zips in a zip', async () => {
    const { signed } = await world.sign('g.zip', zipOf({ 'x.exe': program(1), 'i.zip': Buffer.from('PK') }), {
      inside: 'report',
    });
    assert.deepEqual(signed.leftAlone, [{ path: 'i.zip', why: 'nested-zip' }]);
  });

  it('signs a container that it cannot look into, and says so', async () => {
    const damaged = boxOf({ 'a.exe': program(1) }, {}, { 'a.exe': 1e6 });
    const { signed, places } = await world.sign(
      'h.zip',
      zipOf({ 'x.box': boxOf({ 'b.zip': Buffer.from('PK\u0003\u0004') }), 'a.box': damaged }),
      { inside: 'report', limits: { ...LIMITS, archive: 2000 + 1e5 } },
    );
    assert.deepEqual(places, ['x.box', 'a.box']);
    assert.deepEqual(signed.leftAlone, [
      { path: 'b.zip', inside: ['x.box'], why: 'nested-zip' },
      { path: 'a.box', why: 'not-opened' },
    ]);
  });
});

describe('inside: ignore', () => {
  it('does not look', async () => {
    const { signed } = await world.sign('i.box', boxOf({ 'a.exe': program(1) }), { inside: 'ignore' });
    assert.deepEqual([signed.signed.length, signed.unsignedInside], [1, []]);
  });
});

describe('inside: sign', () => {
  const fixed = { 'a.exe': 'is compressed with LZX' };

  it('inside-fixed: a program that cannot be replaced must be signed already', async () => {
    await refuses(
      boxOf({ 'a.exe': program(1) }, fixed),
      'j.box',
      {},
      {
        code: 'inside-fixed',
        message: /j\.box!\/a\.exe: is compressed with LZX/,
      },
    );
    const { places } = await world.sign('k.box', boxOf({ 'a.exe': signedProgram }, fixed));
    assert.deepEqual(places, ['']);
  });

  it('inside-fixed: also if it lies in something that cannot be replaced', () =>
    refuses(
      boxOf({ 'i.zip': zipOf({ 'a.exe': program(1) }) }, { 'i.zip': 'is compressed with LZX' }),
      'l.box',
      {},
      {
        code: 'inside-fixed',
        message: /i\.zip!\/a\.exe/,
      },
    ));

  it('refuses a zip in a zip that cannot be read, unless a pattern excludes it', async () => {
    const file = zipOf({ 'x.exe': program(1), 'i.zip': Buffer.from('PK\u0003\u0004 cut short') });
    await refuses(file, 'm.zip', {}, { code: 'zip-truncated', hint: /exclude the container/ });
    const isOurs = compilePatterns(['**/*.exe', '!i.zip']);
    assert.deepEqual((await world.sign('m.zip', file, { isOurs })).places, ['x.exe']);
  });

  it('refuses before the first signature what cannot be signed itself, as the plan does', async () => {
    let signatures = 0;
    const { key } = world.options;
    const counting = Object.assign(Object.create(key) as typeof key, {
      sign: (...request: Parameters<typeof key.sign>) => {
        signatures += 1;
        return key.sign(...request);
      },
    });
    const set = buildCab({
      next: ['b.cab', 'disk 2'],
      folders: [{ files: [{ name: 'a.txt', data: Buffer.from('text') }] }],
    });
    const isOurs = compilePatterns(['**/*.exe', '**/*.cab']);
    const more = { isOurs, key: counting };
    await refuses(set, 'set.cab', more, { code: 'cab-set' });
    await refuses(zipOf({ 'a.exe': program(1), 'set.cab': set }), 'set.zip', more, { code: 'cab-set' });
    const options = { ...world.options, inside: 'sign', isOurs } as const;
    const path = join(world.folder, 'set.cab');
    await writeFile(path, set);
    await assert.rejects(planFile(path, options), { code: 'cab-set' });
    assert.equal(signatures, 0);
  });

  it('opens a zip in a container also if a pattern names it, in a zip or alone', async () => {
    const file = boxOf({ 'i.zip': zipOf({ 'a.exe': program(1) }) });
    const isOurs = compilePatterns(['**/*']);
    assert.deepEqual((await world.sign('q.box', file, { isOurs })).places, ['i.zip!/a.exe', '']);
    const { places } = await world.sign('q.zip', zipOf({ 'q.box': file }), { isOurs });
    assert.deepEqual(places, ['q.box!/i.zip!/a.exe', 'q.box']);
  });

  it('append-would-lose: signing inside would make the signature of the container invalid', async () => {
    const inner = boxOf({ 'a.exe': program(1) });
    const { bytes: signed } = await world.sign('p.box', inner, { inside: 'report' });
    const append = { alreadySigned: 'append' } as const;
    await refuses(zipOf({ 'p.box': signed }), 'p.zip', append, {
      code: 'append-would-lose',
      message: /p\.box: what is to be signed inside of it would make its signature invalid/,
    });
    assert.deepEqual((await world.sign('p.box', signed, { ...append, inside: 'report' })).places, ['']);
    assert.deepEqual((await world.sign('p.box', inner, append)).places, ['a.exe', '']);
    assert.deepEqual((await world.sign('p.box', signed, { alreadySigned: 'replace' })).places, ['a.exe', '']);
  });

  it('leaves packages that a changed file would break', async () => {
    const jar = zipOf({ 'META-INF/A.SF': Buffer.from('x'), 'a.exe': program(1) });
    const { signed, places } = await world.sign('n.zip', zipOf({ 'x.exe': program(1), 'a.jar': jar }));
    assert.deepEqual([places, signed.leftAlone], [['x.exe'], [{ path: 'a.jar', why: 'nested-zip' }]]);
  });

  it('pinned entries pin the container', async () => {
    const { sha256Hex } = await import('../../../../src/lib/bytes/hash.ts');
    const inner = zipOf({ 'a.exe': program(1) });
    const file = zipOf({ 'x.exe': program(2), 'i.zip': inner, 'j.zip': zipOf({ 'b.exe': program(3) }) });
    const pins = new Map([
      ['x.exe', sha256Hex(program(2))],
      ['i.zip', sha256Hex(inner)],
    ]);
    const { places, signed } = await world.sign('o.zip', file, { pins });
    assert.deepEqual(places, ['x.exe', 'i.zip!/a.exe']);
    assert.deepEqual(signed.leftAlone, [{ path: 'j.zip', why: 'nested-zip' }]);
    pins.set('i.zip', '0'.repeat(64));
    await refuses(file, 'o.zip', { pins }, { code: 'entry-digest-differs' });
  });
});

describe('a container that does not keep its contract', () => {
  /** A box whose members read, or are replaced, in another way than it says. */
  const odd = (extension: string, change: (container: Container) => Partial<Container>): FileFormat => ({
    ...box,
    name: extension,
    looksLike: (head, name) => box.looksLike(head, name) && name.includes(`.${extension}`),
    open: async (source) => {
      const file = await box.open(source);
      const container = async (): Promise<Container> => {
        const inside = (await file.container?.(LIMITS)) ?? assert.fail();
        return Object.assign(Object.create(inside) as Container, change(inside));
      };
      return Object.assign(Object.create(file) as typeof file, { container, format: extension });
    },
  });
  const isOurs = (): boolean => true;

  it('inside-repacked-bad: another member changes as well, and nothing is written', async () => {
    (FORMATS as FileFormat[]).unshift(
      odd('sloppy', (inside) => ({
        replace: (contents) =>
          inside.replace(
            new Map<string, ByteSource>([...contents, ['data.exe', new BufferSource(signedProgram, 'it')]]),
          ),
      })),
    );
    const other = Buffer.from(signedProgram);
    const file = boxOf({ 'a.exe': program(1), 'data.exe': Buffer.concat([other, other]) });
    await refuses(
      file,
      'a.sloppy',
      { isOurs: compilePatterns(['**/a.*']) },
      {
        code: 'inside-repacked-bad',
        kind: 'local',
        message: /"data\.exe" has other bytes/,
      },
    );
  });

  it('may hold members that cannot be read, as long as they are not ours', async () => {
    const unreadable = async function* (this: void): AsyncGenerator<Buffer> {
      yield await Promise.reject(invalid('box-unreadable', 'packed in an unknown way'));
    };
    async function* read(
      inside: Container,
      wanted: Parameters<Container['read']>[0],
    ): AsyncGenerator<OpenMember> {
      for await (const each of inside.read(wanted))
        yield each.member.path === 'a.exe' ? each : { member: each.member, content: unreadable() };
    }
    (FORMATS as FileFormat[]).unshift(
      odd('partly', (inside) => ({ read: (wanted) => read(inside, wanted) })),
    );
    const file = boxOf({ 'a.exe': program(1), 'b.bin': Buffer.from('b') });
    const { places, bytes } = await world.sign('a.partly', file, { isOurs: compilePatterns(['**/a.*']) });
    assert.deepEqual(places, ['a.exe', '']);
    assert.equal((await world.prove('a.partly', file, bytes)).signed.length, 2);
    await refuses(file, 'a.partly', { isOurs }, { code: 'box-unreadable' });
  });

  it('inside-size-differs: a member has more or fewer bytes than it says', async () => {
    for (const [extension, bytes] of [
      ['short', program(1).subarray(1)],
      ['long', Buffer.concat([program(1), program(1)])],
    ] as const) {
      // eslint-disable-next-line func-style -- a generator
      async function* content(): AsyncGenerator<Buffer> {
        yield* [bytes];
        await Promise.resolve();
      }
      async function* read(): AsyncGenerator<OpenMember> {
        yield { member: { path: 'a.exe', size: program(1).length }, content: content() };
        await Promise.resolve();
      }
      (FORMATS as FileFormat[]).unshift(odd(extension, () => ({ read })));
      await refuses(
        boxOf({ 'a.exe': program(1) }),
        `b.${extension}`,
        { isOurs },
        { code: 'inside-size-differs' },
      );
    }
  });
});

describe('bounds over all levels', () => {
  const deep = (levels: number): Buffer => {
    let file = program(1);
    for (let level = 0; level < levels; level++) file = zipOf({ [level === 0 ? 'a.exe' : 'z.zip']: file });
    return file;
  };

  it('inside-too-deep: more than four containers in one another', async () => {
    assert.equal((await world.sign('p.zip', deep(5))).places.length, 1);
    await refuses(deep(6), 'q.zip', {}, { code: 'inside-too-deep', kind: 'invalid' });
    const report = await world.verify('q.zip', deep(6));
    assert.deepEqual(
      report.unread.map(({ code, suspect }) => [code, suspect]),
      [['inside-too-deep', false]],
    );
  });

  it('inside-too-many: files in all containers together', async () => {
    const many = zipOf(
      Object.fromEntries(Array.from({ length: 40 }, (_, at) => [`${at}.txt`, Buffer.from('x')])),
    );
    const limits = { ...LIMITS, entries: 70 };
    const file = zipOf({ 'x.exe': program(1), 'a.zip': many, 'b.zip': many });
    await refuses(file, 'r.zip', { limits }, { code: /^(?:inside-too-many|zip-too-many-entries)$/ });
  });

  const zeros = (size: number): Buffer => zipOf({ 'zeros.bin': Buffer.alloc(size) });

  it('inside-bomb: what is inside is far larger than the file', async () => {
    // 8 MiB of zeros are 8 KiB in a zip, and that zip again compresses well.
    const bomb = zipOf({ 'x.exe': program(1), 'a.zip': zeros(8 << 20) });
    const limits = { ...LIMITS, ratio: 100 };
    await refuses(bomb, 's.zip', { limits }, { code: 'inside-bomb' });
    const report = await world.verify('s.zip', bomb, { limits });
    assert.deepEqual(
      report.unread.map(({ code }) => code),
      ['inside-bomb'],
    );
  });

  it('inside-too-large: more than limits.archive in all', () =>
    refuses(
      zipOf({ 'x.exe': program(1), 'a.zip': zeros(3 << 20) }),
      't.zip',
      { limits: { ...LIMITS, archive: 2 << 20, ratio: 1e6 } },
      {
        code: 'inside-too-large',
      },
    ));
});

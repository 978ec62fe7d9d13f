/** Files in packages, and packages in bundles, with new content. */
import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { verifySignableFile } from '../../../../src/engine/authenticode/verify.ts';
import { signProgram } from '../../../../src/engine/authenticode/sign.ts';
import type { Container } from '../../../../src/engine/formats/container.ts';
import { MsixFile } from '../../../../src/engine/formats/msix/msix-file.ts';
import { openMsix } from '../../../../src/engine/formats/msix/open.ts';
import { createTestPki, testSigningKey, type TestPki } from '../../../../src/sandbox/certificates.ts';
import { DEFAULT_LIMITS, type ArchiveLimits } from '../../../../src/lib/zip/limits.ts';
import { buildBundle, buildPackage } from '../../../fixtures/msix.ts';
import { buildPe, filler } from '../../../fixtures/pe.ts';
import { bytesOf, source } from '../../authenticode/tools.ts';
import { publisherOf } from './tools.ts';

const open = (bytes: Buffer): Promise<MsixFile> => openMsix(source(bytes, 'a.msix'));

async function containerOf(bytes: Buffer, limits: ArchiveLimits = DEFAULT_LIMITS): Promise<Container> {
  return (await open(bytes)).container(limits);
}

async function contentsOf(bytes: Buffer): Promise<Map<string, Buffer>> {
  const contents = new Map<string, Buffer>();
  for await (const { member, content } of (await containerOf(bytes)).read(() => true)) {
    const chunks: Buffer[] = [];
    for await (const chunk of content) chunks.push(Buffer.from(chunk));
    contents.set(member.path, Buffer.concat(chunks));
  }
  return contents;
}

const replace = async (bytes: Buffer, ...contents: [path: string, content: Buffer][]): Promise<Buffer> =>
  bytesOf(
    await (
      await containerOf(bytes)
    ).replace(new Map(contents.map(([path, each]) => [path, source(each, path)]))),
  );

let pki: TestPki;
let publisher = '';
const program = buildPe({ sections: [{ name: '.text', data: filler(150_000, 1) }] });
const files = [
  { name: 'bin/a%20b.exe', content: program },
  { name: 'logo.png', content: filler(100, 2), stored: true },
];
let original: Buffer;
before(async () => {
  pki = await createTestPki({ key: 'p256', intermediate: false });
  publisher = publisherOf(pki);
  original = buildPackage({ publisher, files });
});

const sign = async (bytes: Buffer): Promise<Buffer> => {
  const key = testSigningKey(pki.codeSigning);
  return bytesOf((await signProgram(await open(bytes), { key, timestamper: null })).content);
};

describe('the files in a package', () => {
  it('are those that the block map lists, with their own names, without the manifest', async () => {
    const { members } = await containerOf(original);
    assert.deepEqual(members, [
      { path: 'bin/a b.exe', size: program.length },
      { path: 'logo.png', size: 100 },
    ]);
    assert.deepEqual(
      await contentsOf(original),
      new Map([
        ['bin/a b.exe', program],
        ['logo.png', filler(100, 2)],
      ]),
    );
  });

  it('have new content in a package that Windows would install, and that is signed like any other', async () => {
    const changed = await replace(original, ['bin/a b.exe', filler(70_000, 3)], ['logo.png', filler(50, 4)]);
    assert.deepEqual(
      await contentsOf(changed),
      new Map([
        ['bin/a b.exe', filler(70_000, 3)],
        ['logo.png', filler(50, 4)],
      ]),
    );
    const { status, problems } = await verifySignableFile(await open(await sign(changed)));
    assert.deepEqual([status, problems], ['intact', []]);
  });

  it('give the package again if they get the content that they have, and always the same bytes', async () => {
    const [first = assert.fail()] = await contentsOf(original);
    const again = await replace(original, first);
    assert.deepEqual(await contentsOf(again), await contentsOf(original));
    assert.deepEqual(await replace(again, first), again);
    assert.deepEqual(await replace(original, first), again);
  });

  it('are replaced in a signed package, which then carries no signature', async () => {
    const changed = await replace(await sign(original), ['logo.png', filler(50, 4)]);
    assert.deepEqual(changed, await replace(original, ['logo.png', filler(50, 4)]));
    assert.deepEqual((await open(changed)).signatures, []);
  });

  it('zip-too-many-entries, zip-entry-too-large: are within the limits', async () => {
    await assert.rejects(containerOf(original, { ...DEFAULT_LIMITS, entries: 3 }), {
      code: 'zip-too-many-entries',
    });
    const small = await containerOf(original, { ...DEFAULT_LIMITS, entry: 1000 });
    const reading = small.read(() => true)[Symbol.asyncIterator]();
    await assert.rejects(reading.next(), { code: 'zip-entry-too-large' });
  });
});

describe('the packages in a bundle', () => {
  it('have new content, and their places and sizes in the manifest', async () => {
    const other = buildPackage({ publisher });
    const bundle = buildBundle(
      [
        { name: 'one.msix', content: original },
        { name: 'two.msix', content: other },
      ],
      { publisher },
    );
    const signed = await sign(original);
    const changed = await replace(bundle, ['one.msix', signed]);
    const expected = buildBundle(
      [
        { name: 'one.msix', content: signed },
        { name: 'two.msix', content: other },
      ],
      { publisher },
    );
    const [{ parts }, { parts: expectedParts }] = [await open(changed), await open(expected)];
    assert.equal(parts.manifest.toString(), expectedParts.manifest.toString());
    assert.deepEqual(
      await contentsOf(changed),
      new Map([
        ['one.msix', signed],
        ['two.msix', other],
      ]),
    );
    assert.equal((await verifySignableFile(await open(await sign(changed)))).status, 'intact');
  });

  it('msix-layout: are not replaced behind the manifest, whose size depends on theirs', async () => {
    const bundle = buildBundle([{ name: 'one.msix', content: original }], {
      publisher,
      change: (entries) => [...entries.slice(1, 2), ...entries.slice(0, 1), ...entries.slice(2)],
    });
    await assert.rejects(replace(bundle, ['one.msix', original]), { code: 'msix-layout' });
  });
});

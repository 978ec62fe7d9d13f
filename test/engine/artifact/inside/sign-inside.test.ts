/** Programs inside of containers: signed before the container, required to be signed, reported, or ignored. */
import assert from 'node:assert/strict';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { compilePatterns } from '../../../../src/engine/artifact/globs.ts';
import { shownPlace } from '../../../../src/engine/artifact/inside/place.ts';
import { planFile, type FilePlan } from '../../../../src/engine/artifact/plan-file.ts';
import { signFile } from '../../../../src/engine/artifact/sign-file.ts';
import type {
  InsidePolicy,
  SignArtifactOptions,
  SignedFile,
} from '../../../../src/engine/artifact/signed-artifact.ts';
import { openSignableFile } from '../../../../src/engine/formats/recognize.ts';
import { FORMATS } from '../../../../src/engine/formats/registry.ts';
import type { FileFormat } from '../../../../src/engine/formats/signable-file.ts';
import { BufferSource } from '../../../../src/lib/bytes/byte-source.ts';
import { sha256Hex } from '../../../../src/lib/bytes/hash.ts';
import { buildPe, filler } from '../../../fixtures/pe.ts';
import { forge, contentOf, LIMITS, readZipFile } from '../../../lib/zip/zips.ts';
import { box, boxOf } from '../../formats/box-file.ts';
import { makeSigningSetup } from '../signing-setup.ts';

const program = (seed: number): Buffer =>
  buildPe({ sections: [{ name: '.text', data: filler(2000, seed) }] });
const zipOf = (files: Record<string, Buffer>): Buffer =>
  forge(Object.entries(files).map(([name, content]) => ({ name, content })));

let folder = '';
let setup: SignArtifactOptions;
before(async () => {
  (FORMATS as FileFormat[]).push(box);
  const { folder: made, signing } = await makeSigningSetup();
  folder = made;
  setup = { ...signing, isOurs: compilePatterns(['**/*.exe', '**/*.box']) };
});
after(() => rm(folder, { recursive: true }));

const at = (name: string): string => join(folder, name);

interface Tried {
  readonly signed: SignedFile;
  readonly plan: FilePlan;
  readonly bytes: Buffer;
}

/** Plans, then signs. */
async function sign(name: string, bytes: Buffer, more: Partial<SignArtifactOptions> = {}): Promise<Tried> {
  const options = { ...setup, inside: 'sign' as const, ...more };
  await writeFile(at(name), bytes);
  const plan = await planFile(at(name), options);
  const signed = await signFile(at(name), at(`signed-${name}`), options);
  return { plan, signed, bytes: await readFile(at(`signed-${name}`)) };
}

const placesOf = ({ signed }: Tried): string[] => signed.signed.map(shownPlace);

const openBytes = (bytes: Buffer, name: string): ReturnType<typeof openSignableFile> =>
  openSignableFile(new BufferSource(bytes, name));

const isSigned = async (bytes: Buffer, name = 'it.exe'): Promise<boolean> =>
  (await openBytes(bytes, name)).signatures.length > 0;

/** The files in a zip or a box. */
async function filesIn(bytes: Buffer): Promise<Record<string, Buffer>> {
  const files: Record<string, Buffer> = {};
  if (bytes.subarray(0, 2).toString() === 'PK') {
    await writeFile(at('look.zip'), bytes);
    const archive = await readZipFile(at('look.zip'));
    for (const { path } of archive.entries) files[path] = await contentOf(archive, path);
    return files;
  }
  const container = await (await openBytes(bytes, 'it.box')).container?.(LIMITS);
  for await (const { member, content } of container?.read(() => true) ?? []) {
    const parts: Buffer[] = [];
    for await (const part of content) parts.push(part);
    files[member.path] = Buffer.concat(parts);
  }
  return files;
}

/** The file at a place. */
async function fileAt(bytes: Buffer, ...places: string[]): Promise<Buffer> {
  let current = bytes;
  for (const path of places) current = (await filesIn(current))[path] ?? assert.fail(`no ${path}`);
  return current;
}

describe('a zip in a zip, with inside: sign', () => {
  it('is packed again with its programs signed', async () => {
    const inner = zipOf({ 'bin/a.exe': program(1), 'readme.txt': Buffer.from('text') });
    const tried = await sign('two.zip', zipOf({ 'b.exe': program(2), 'tools.zip': inner }));
    assert.deepEqual(placesOf(tried), ['b.exe', 'tools.zip!/bin/a.exe']);
    assert.ok(await isSigned(await fileAt(tried.bytes, 'tools.zip', 'bin/a.exe')));
    assert.equal((await fileAt(tried.bytes, 'tools.zip', 'readme.txt')).toString(), 'text');
    assert.deepEqual(tried.signed.leftAlone, []);
    const [, a] = tried.signed.signed;
    assert.equal(a?.before.sha256, sha256Hex(program(1)));
    assert.equal(a?.after.sha256, sha256Hex(await fileAt(tried.bytes, 'tools.zip', 'bin/a.exe')));
  });
});

describe('a signed container, with inside: sign', () => {
  it('gets its programs signed before itself, alone and in a zip', async () => {
    const inner = boxOf({ 'a.exe': program(1), 'data.bin': filler(50) });
    const alone = await sign('a.box', inner);
    assert.deepEqual(placesOf(alone), ['a.exe', '']);
    assert.ok(await isSigned(alone.bytes, 'a.box'));
    assert.ok(await isSigned(await fileAt(alone.bytes, 'a.exe')));
    assert.equal(alone.signed.signed[1]?.before.sha256, sha256Hex(inner));
    assert.equal(alone.signed.output.sha256, sha256Hex(alone.bytes));
    const packed = await sign('b.zip', zipOf({ 'setup/a.box': inner }));
    assert.deepEqual(placesOf(packed), ['setup/a.box!/a.exe', 'setup/a.box']);
    assert.ok(await isSigned(await fileAt(packed.bytes, 'setup/a.box', 'a.exe')));
    assert.deepEqual(packed.plan.steps, [
      { path: 'a.exe', inside: ['setup/a.box'], action: 'sign', format: 'pe', size: program(1).length },
      { path: 'setup/a.box', action: 'sign', format: 'box', size: inner.length },
    ]);
  });
});

describe('the policy', () => {
  for (const inside of ['report', 'ignore'] as const satisfies InsidePolicy[])
    it(inside, async () => {
      const inner = boxOf({ 'a.exe': program(1) });
      const tried = await sign('c.zip', zipOf({ 'a.box': inner, 'b.zip': zipOf({ 'b.exe': program(2) }) }), {
        inside,
      });
      assert.deepEqual(placesOf(tried), ['a.box']);
      assert.deepEqual(
        tried.signed.unsignedInside.map(shownPlace),
        inside === 'report' ? ['a.box!/a.exe'] : [],
      );
      assert.deepEqual(tried.signed.leftAlone, [{ path: 'b.zip', why: 'nested-zip' }]);
    });
});

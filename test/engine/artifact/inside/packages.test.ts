/** Programs in cabinets and in packages of Windows Installer are signed before these. */
import assert from 'node:assert/strict';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { compilePatterns } from '../../../../src/engine/artifact/globs.ts';
import { shownPlace } from '../../../../src/engine/artifact/inside/place.ts';
import { signFile } from '../../../../src/engine/artifact/sign-file.ts';
import { verifyFile } from '../../../../src/engine/artifact/verify-file.ts';
import type { SignArtifactOptions } from '../../../../src/engine/artifact/signed-artifact.ts';
import { verifySignableFile } from '../../../../src/engine/authenticode/verify.ts';
import { openSignableFile } from '../../../../src/engine/formats/recognize.ts';
import { BufferSource } from '../../../../src/lib/bytes/byte-source.ts';
import { buildCab, cabOf } from '../../../fixtures/cab.ts';
import { buildPe, filler } from '../../../fixtures/pe.ts';
import { forge, contentOf, LIMITS, readZipFile } from '../../../lib/zip/zips.ts';
import { fileTable, makeDatabase, makePackage, mediaTable, stream } from '../../formats/msi/make-database.ts';
import { makeSigningSetup } from '../signing-setup.ts';

const program = (seed: number): Buffer =>
  buildPe({ sections: [{ name: '.text', data: filler(2000, seed) }] });

const cabinet = buildCab({
  folders: [
    {
      files: [
        { name: 'bin\\a.exe', data: program(1) },
        { name: 'readme.txt', data: Buffer.from('Read me.') },
      ],
      compression: 'mszip',
    },
  ],
});
const setupPackage = makePackage([
  ...makeDatabase({
    File: fileTable([['MainExe', 'c', 'A~1.EXE|main program.exe', program(2).length, null, 1]]),
    Media: mediaTable([[1, 1, '#media1.cab']]),
  }),
  stream('media1.cab', cabOf('MainExe', program(2))),
  stream('Binary.Action', program(3)),
]);

let folder = '';
let setup: SignArtifactOptions;
before(async () => {
  const { folder: made, signing } = await makeSigningSetup();
  folder = made;
  const isOurs = compilePatterns(['**/*.exe', '**/*.cab', '**/*.msi', '**/Binary.*']);
  setup = { ...signing, isOurs, inside: 'sign' };
});
after(() => rm(folder, { recursive: true }));

const at = (name: string): string => join(folder, name);

async function sign(name: string, bytes: Buffer): Promise<{ places: string[]; bytes: Buffer }> {
  await writeFile(at(name), bytes);
  const signed = await signFile(at(name), at(`signed-${name}`), setup);
  return { places: signed.signed.map(shownPlace), bytes: await readFile(at(`signed-${name}`)) };
}

/** The statuses of a file and of the programs in it, by path. */
async function statuses(name: string, bytes: Buffer): Promise<Record<string, string>> {
  const file = await openSignableFile(new BufferSource(bytes, name));
  const found: Record<string, string> = { [name]: (await verifySignableFile(file)).status };
  const container = await file.container?.(LIMITS);
  for await (const { member, content } of container?.read(({ path }) => !path.endsWith('.txt')) ?? []) {
    const chunks: Buffer[] = [];
    for await (const chunk of content) chunks.push(chunk);
    Object.assign(found, await statuses(member.path, Buffer.concat(chunks)));
  }
  return found;
}

describe('what lies in another file', () => {
  it('is named when verified, and no reason to refuse this one; it cannot be signed inside', async () => {
    const tables = makeDatabase({
      File: fileTable([['Main', 'c', 'main.exe', 3, null, 1]]),
      Media: mediaTable([[1, 1, 'outer.cab']]),
    });
    await writeFile(at('outer.msi'), makePackage(tables));
    await signFile(at('outer.msi'), at('signed-outer.msi'), { ...setup, inside: 'report' });
    const report = await verifyFile(at('signed-outer.msi'), { limits: LIMITS, scratch: folder });
    assert.deepEqual(
      report.unread.map(({ path, code, suspect }) => [path, code, suspect]),
      [['Main/main.exe', 'msi-file-elsewhere', false]],
    );
    await assert.rejects(signFile(at('outer.msi'), at('never.msi'), setup), { code: 'msi-file-elsewhere' });
  });
});

describe('programs inside are signed first', () => {
  it('in a cabinet, and once more from the same original with the same bytes', async () => {
    const { places, bytes } = await sign('a.cab', cabinet);
    assert.deepEqual(places, ['bin/a.exe', '']);
    assert.deepEqual(await statuses('a.cab', bytes), { 'a.cab': 'intact', 'bin/a.exe': 'intact' });
  });

  it('in a package: in its cabinet and in the stream of a custom action', async () => {
    const { places, bytes } = await sign('a.msi', setupPackage);
    assert.deepEqual(places, ['MainExe/main program.exe', 'Binary.Action', '']);
    assert.deepEqual(await statuses('a.msi', bytes), {
      'a.msi': 'intact',
      'MainExe/main program.exe': 'intact',
      'Binary.Action': 'intact',
    });
  });

  it('in both, in a zip', async () => {
    const zip = forge([
      { name: 'a.cab', content: cabinet },
      { name: 'dir/a.msi', content: setupPackage },
    ]);
    const { places } = await sign('a.zip', zip);
    assert.deepEqual(places.sort(), [
      'a.cab',
      'a.cab!/bin/a.exe',
      'dir/a.msi',
      'dir/a.msi!/Binary.Action',
      'dir/a.msi!/MainExe/main program.exe',
    ]);
    const archive = await readZipFile(at('signed-a.zip'));
    const bytes = await contentOf(archive, 'dir/a.msi');
    assert.equal((await statuses('a.msi', bytes))['MainExe/main program.exe'], 'intact');
  });
});

/** Formats that the engine does not know and that are recognised by name: files alone and in a zip. */
import assert from 'node:assert/strict';
import { rm, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { attachToFile } from '../../../src/engine/artifact/attach-file.ts';
import { compilePatterns } from '../../../src/engine/artifact/globs.ts';
import { proveFile } from '../../../src/engine/artifact/prove-file.ts';
import { signFile } from '../../../src/engine/artifact/sign-file.ts';
import type { SignArtifactOptions } from '../../../src/engine/artifact/signed-artifact.ts';
import { verifyFile } from '../../../src/engine/artifact/verify-file.ts';
import { FORMATS } from '../../../src/engine/formats/registry.ts';
import type { FileFormat } from '../../../src/engine/formats/signable-file.ts';
import { buildPe } from '../../fixtures/pe.ts';
import { note, noteBy } from '../formats/note-file.ts';
import { contentOf, forge, LIMITS, readZipFile } from '../../lib/zip/zips.ts';
import { makeSigningSetup } from './signing-setup.ts';

/** Notes that have no mark: the extension alone recognises them. */
const named = (extension: string): FileFormat => ({
  ...note,
  name: extension,
  extensions: [extension],
  looksLike: (_head, name) => name.endsWith(`.${extension}`),
  open: async (source) => Object.assign(await note.open(source), { format: extension }),
});

let folder = '';
let options: SignArtifactOptions;
let text: Buffer;
const at = (name: string): string => join(folder, name);

before(async () => {
  const setup = await makeSigningSetup();
  folder = setup.folder;
  options = { ...setup.signing, isOurs: compilePatterns(['**/*.note', '**/*.memo', '**/*.exe']) };
  text = noteBy(setup.signing.key.certificates[0]?.subject ?? '', 'Dear reader,\n');
  (FORMATS as FileFormat[]).push(named('note'), named('memo'));
});
after(() => rm(folder, { recursive: true }));

describe('a file that is recognised by its name', () => {
  const checks = {
    limits: LIMITS,
    get scratch(): string {
      return folder;
    },
  };

  it('is signed, and verified and proven under a temporary name', async () => {
    await writeFile(at('a.note'), text);
    const { kind, signed } = await signFile(at('a.note'), at('signed.note'), options);
    assert.deepEqual([kind, signed.map(({ format }) => format)], ['program', ['note']]);
    await rename(at('signed.note'), at('signed.unchecked'));
    const report = await verifyFile(at('signed.unchecked'), checks, 'signed.note');
    assert.deepEqual([report.kind, report.status], ['program', 'intact']);
    await proveFile(at('a.note'), at('signed.unchecked'), { ...checks, name: 'signed.note' });
    await assert.rejects(verifyFile(at('signed.unchecked'), checks), { code: 'not-signable' });
  });

  it('is signed in a zip, beside a program and the same bytes in another format', async () => {
    const entries = [
      { name: 'a.note', content: text },
      { name: 'a.memo', content: text },
      { name: 'a.exe', content: buildPe() },
    ];
    await writeFile(at('all.zip'), forge(entries));
    const { signed } = await signFile(at('all.zip'), at('signed.zip'), options);
    assert.deepEqual(
      signed.map(({ path, format }) => [path, format]),
      [
        ['a.note', 'note'],
        ['a.memo', 'memo'],
        ['a.exe', 'pe'],
      ],
    );
    assert.equal((await verifyFile(at('signed.zip'), checks)).programs.length, 3);
    assert.equal((await proveFile(at('all.zip'), at('signed.zip'), checks)).signed.length, 3);
    const wanted = signed.map(({ path, signature }) => ({ path, signature }));
    await attachToFile(at('all.zip'), wanted, at('attached.zip'), checks);
    assert.deepEqual(await readFile(at('attached.zip')), await readFile(at('signed.zip')));
    assert.notDeepEqual(await contentOf(await readZipFile(at('signed.zip')), 'a.note'), text);
  });
});

/** Recognising zips and programs, and which single programs are ours. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFile, readdir, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import type { SignpipeError } from '../../../src/lib/errors.ts';
import { compilePatterns } from '../../../src/engine/artifact/globs.ts';
import { proveFile } from '../../../src/engine/artifact/prove-file.ts';
import { signFile } from '../../../src/engine/artifact/sign-file.ts';
import type { SignArtifactOptions } from '../../../src/engine/artifact/signed-artifact.ts';
import { verifyFile } from '../../../src/engine/artifact/verify-file.ts';
import { forge, LIMITS } from '../../lib/zip/zips.ts';
import { buildPe, filler } from '../../fixtures/pe.ts';
import { makeSigningSetup } from '../artifact/signing-setup.ts';

const run = promisify(execFile);

const program = buildPe({ sections: [{ name: '.text', data: filler(2000, 1) }] });

/** A program with a zip at its end, with offsets as unpackers expect: a self-extracting archive, or a polyglot. */
function withZip(): Buffer {
  const zip = forge([{ name: 'app/app.exe', content: program }]);
  const both = Buffer.concat([program, zip]);
  const end = both.length - 22;
  const directory = both.readUInt32LE(end + 16) + program.length;
  both.writeUInt32LE(directory, end + 16);
  both.writeUInt32LE(program.length, directory + 42);
  return both;
}

let folder = '';
let signing: Omit<SignArtifactOptions, 'isOurs'>;
const at = (name: string): string => join(folder, name);
before(async () => {
  const setup = await makeSigningSetup();
  folder = setup.folder;
  signing = setup.signing;
});
after(() => rm(folder, { recursive: true }));

/** Signs bytes under a name, as the signer does, with these patterns. */
async function sign(name: string, bytes: Buffer, ...patterns: string[]): Promise<string[]> {
  const input = at(`in-${basename(name)}`);
  await writeFile(input, bytes);
  const options = { ...signing, isOurs: compilePatterns(patterns) };
  const { signed } = await signFile(input, at(`out-${basename(name)}`), options, name);
  return signed.map(({ path }) => path);
}

const refusal =
  (code: string, says: RegExp) =>
  (error: SignpipeError): boolean => {
    assert.equal(error.code, code, error.message);
    assert.match(`${error.message}\n${error.hint ?? ''}`, says);
    return true;
  };

describe('a single program', () => {
  it('is ours if its name is matched like the path of an entry', async () => {
    for (const name of ['tool.exe', 'app/tool.exe', 'App/TOOL.EXE'])
      assert.deepEqual(await sign(name, program, '**/*.exe'), [''], name);
    assert.deepEqual(await sign('app/tool.exe', program, 'app/*.exe'), ['']);
  });

  const others: [name: string, patterns: string[], says: RegExp][] = [
    ['tool.exe', ['app/*.exe'], /add "tool\.exe" or "\*\*\/\*\.exe" to signing\.files/],
    ['driver.sys', ['**/*.exe', '**/*.dll'], /"driver\.sys" or "\*\*\/\*\.sys"/],
    ['tool', ['**/*.exe'], /add "tool" to signing\.files/],
    ['third-party/x.exe', ['**/*.exe', '!third-party/**'], /unless a pattern with "!" excludes it/],
  ];
  for (const [name, patterns, says] of others)
    it(`nothing-to-sign: ${name} if signing.files is ${patterns.join(', ')}; the hint names the pattern to add`, () =>
      assert.rejects(sign(name, program, ...patterns), refusal('nothing-to-sign', says)));

  it('nothing-to-sign: leaves no output behind', async () => {
    await assert.rejects(sign('none.sys', program, '**/*.exe'));
    assert.ok(!(await readdir(folder)).some((name) => name.startsWith('out-none')));
  });

  it('may have a zip at its end if it has the name of a program: a self-extracting archive', async () => {
    assert.deepEqual(await sign('setup.exe', withZip(), '**/*.exe'), ['']);
    await writeFile(at('sfx.exe'), withZip());
    assert.equal((await verifyFile(at('sfx.exe'), { limits: LIMITS, scratch: folder })).kind, 'program');
  });
});

describe('a program with the name of a zip', () => {
  for (const name of ['product.zip', 'Product.ZIP', 'nightly/product.zip', 'product.zip.', 'product.jar'])
    it(`zip-is-program: ${name}, though every pattern matches it`, async () => {
      await assert.rejects(sign(name, withZip(), '**'), refusal('zip-is-program', /its name says zip/));
      await assert.rejects(sign(name, program, '**'), refusal('zip-is-program', /its name says zip/));
    });

  it('zip-is-program: also inside a zip, if a pattern matches it', async () => {
    const zip = forge([
      { name: 'app.exe', content: program },
      { name: 'tools/inner.jar', content: withZip() },
    ]);
    await assert.rejects(sign('a.zip', zip, '**'), refusal('zip-is-program', /a\.zip!\/tools\/inner\.jar/));
    assert.deepEqual(await sign('a.zip', zip, '**/*.exe'), ['app.exe']);
  });

  it('is a zip for other tools, which is why', async () => {
    await writeFile(at('both.zip'), withZip());
    const { stdout } = await run('python3', ['-m', 'zipfile', '-l', at('both.zip')]);
    assert.match(stdout, /app\/app\.exe/);
    await run('unzip', ['-tq', at('both.zip')]);
  });

  it('zip-is-program: is neither verified as a program nor proven', async () => {
    await writeFile(at('plain.exe'), withZip());
    await signFile(at('plain.exe'), at('signed.exe'), { ...signing, isOurs: () => true });
    await copyFile(at('signed.exe'), at('signed.zip'));
    const options = { limits: LIMITS, scratch: folder };
    assert.equal((await verifyFile(at('signed.exe'), options)).status, 'intact');
    await assert.rejects(verifyFile(at('signed.zip'), options), refusal('zip-is-program', /signed\.zip/));
    await assert.rejects(
      verifyFile(at('signed.exe'), options, 'real.zip'),
      refusal('zip-is-program', /real\.zip/),
    );
    await assert.rejects(
      proveFile(at('plain.exe'), at('signed.zip'), options),
      refusal('zip-is-program', /signed\.zip/),
    );
    await assert.rejects(
      proveFile(at('plain.exe'), at('signed.exe'), { ...options, name: 'real.zip' }),
      refusal('zip-is-program', /real\.zip/),
    );
  });
});

describe('a zip with the name of a program', () => {
  it('is a zip, whose entries are matched by the patterns', async () => {
    const zip = forge([
      { name: 'app/app.exe', content: program },
      { name: 'other.exe', content: program },
    ]);
    assert.deepEqual(await sign('setup.exe', zip, 'app/*.exe'), ['app/app.exe']);
  });
});

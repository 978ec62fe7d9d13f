/** The recipes in pipeline/packaging, run by the tools themselves. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmod, cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { program } from '../app/signer/test-signer.ts';
import { requireTools } from '../tools.ts';
import { Watching } from '../world/watching.ts';
import { startWorld } from '../world/site.ts';
import { SIGNATURE_OK, TIMESTAMP_OK } from '../engine/authenticode/tools.ts';

const run = promisify(execFile);
const root = join(import.meta.dirname, '../..');
const recipes = join(root, 'pipeline/packaging');

const world = await startWorld();
let watching: Watching;
/** A program `signpipe` on the PATH, as an installation has it. */
let bin: string;
before(async () => {
  requireTools({ cmake: 'cmake', make: 'make', cc: 'gcc', makensis: 'nsis' });
  watching = new Watching(world.site.signerConfig);
  bin = world.at('bin');
  await mkdir(bin);
  const script = join(bin, 'signpipe');
  await writeFile(script, `#!/bin/sh\nexec ${process.execPath} ${join(root, 'dist/main.js')} "$@"\n`);
  await chmod(script, 0o755);
});
after(() => watching.stop());

const tool = (name: string, args: readonly string[], cwd: string, env: NodeJS.ProcessEnv = {}) =>
  run(name, args, {
    cwd,
    env: { ...process.env, ...env, PATH: `${bin}:${process.env['PATH'] ?? ''}` },
  }).catch((error: Error & { stdout?: string; stderr?: string }) => {
    throw new Error(`${error.message}\n${error.stdout ?? ''}\n${error.stderr ?? ''}`);
  });

/** A folder with two different programs in it. */
async function build(name: string): Promise<string> {
  const folder = world.at(name);
  await mkdir(join(folder, 'build'), { recursive: true });
  await writeFile(join(folder, 'build', 'app.exe'), program(name.length));
  await writeFile(join(folder, 'build', 'helper.exe'), program(name.length + 100));
  return folder;
}

const submit = (): string =>
  `signpipe submit -c ${world.site.builderConfig} --in-place --allow-test-certificate`;

/** Asserts that osslsigncode finds a good signature and timestamp. */
async function assertSigned(path: string): Promise<void> {
  const roots = ['-CAfile', world.at('ca.pem'), '-TSA-CAfile', world.at('tsa.pem')];
  const { stdout } = await run('osslsigncode', ['verify', ...roots, '-in', path]).catch(
    (error: Error & { stdout?: string }) => ({ stdout: `${error.message}\n${error.stdout ?? ''}` }),
  );
  assert.match(stdout, SIGNATURE_OK, path);
  assert.match(stdout, TIMESTAMP_OK, path);
}

describe('pipeline/packaging', () => {
  it('cmake: a target is signed when it is linked; CPack signs all programs before it packs them', async () => {
    const folder = await build('cmake-build');
    await cp(join(recipes, 'cmake'), join(folder, 'signpipe'), { recursive: true });
    await writeFile(
      join(folder, 'CMakeLists.txt'),
      `cmake_minimum_required(VERSION 3.19)
project(product VERSION 1.0 LANGUAGES C)
include(signpipe/Signpipe.cmake)
# Stands for a cross-compiler.
set(CMAKE_C_LINK_EXECUTABLE "cp ${folder}/build/helper.exe <TARGET>")
add_executable(linked main.c)
signpipe_sign(linked)
install(FILES build/app.exe build/helper.exe DESTINATION bin)
install(FILES build/app.exe DESTINATION tools)
set(CPACK_GENERATOR "ZIP;NSIS")
set(CPACK_PACKAGE_NAME product)
signpipe_sign_packages()
include(CPack)
`,
    );
    await writeFile(join(folder, 'main.c'), 'int main(void) { return 0; }\n');
    const flags = [
      `-DSIGNPIPE_CONFIG=${world.site.builderConfig}`,
      '-DSIGNPIPE_FLAGS=--allow-test-certificate',
    ];
    await tool('cmake', ['-S', '.', '-B', 'out', ...flags], folder);
    await tool('cmake', ['--build', 'out'], folder);
    await assertSigned(join(folder, 'out', 'linked'));
    await tool('cpack', ['-B', 'packages'], join(folder, 'out'));
    const packages = join(folder, 'out', 'packages');
    await run('unzip', ['-q', '-o', '*.zip', '-d', 'unzipped'], { cwd: packages });
    const zip = join(packages, 'unzipped', 'product-1.0-Linux');
    for (const path of ['bin/app.exe', 'bin/helper.exe', 'tools/app.exe'])
      await assertSigned(join(zip, path));
    await assertSigned(join(packages, 'product-1.0-Linux.exe'));
    assert.deepEqual(await readFile(join(folder, 'build', 'app.exe')), program('cmake-build'.length));
  });

  it('nsis: the uninstaller is signed before it is packed, then the installer; a failure ends makensis', async () => {
    const folder = await build('nsis');
    const script = join(recipes, 'nsis', 'product.nsi');
    const defines = [`-DBUILD=${folder}/build`, `-DOUTPUT=${folder}/setup.exe`];
    await tool('makensis', [...defines, `-DSIGN=${submit()}`, script], folder);
    await assertSigned(join(folder, 'setup.exe'));
    assert.match(
      await world.git('log', '-6', '--format=%s', 'signed'),
      /^TEST signed makensis[A-Za-z0-9]+-[0-9a-f]{12}\.exe/m,
    );
    await assert.rejects(tool('makensis', [...defines, '-DSIGN=false', script], folder));
  });

  it('electron-builder: the hook signs the file that it is given, once, and passes on a failure', async () => {
    const folder = await build('electron-builder');
    const load = createRequire(import.meta.url);
    const hook = load(join(recipes, 'electron-builder', 'sign.cjs')) as {
      default: (configuration: { path: string; hash: string; isNest: boolean }) => Promise<void>;
    };
    process.env['SIGNPIPE'] = join(bin, 'signpipe');
    process.env['SIGNPIPE_CONFIG'] = world.site.builderConfig;
    process.env['SIGNPIPE_FLAGS'] = '--allow-test-certificate';
    const path = join(folder, 'build', 'app.exe');
    const before = await readFile(path);
    await hook.default({ path, hash: 'sha1', isNest: false });
    assert.deepEqual(await readFile(path), before);
    await hook.default({ path, hash: 'sha256', isNest: true });
    await assertSigned(path);
    await assert.rejects(
      hook.default({ path: `${path}.missing`, hash: 'sha256', isNest: false }),
      /status 2/,
    );
  });

  it('inno-setup: the command in the recipe signs, as the compiler expands it', async () => {
    const folder = await build('inno setup');
    const text = await readFile(join(recipes, 'inno-setup', 'product.iss'), 'utf8');
    const command = /"\/Ssignpipe=(.*)" product\.iss/.exec(text)?.[1] ?? assert.fail('no command');
    const path = join(folder, 'build', 'app.exe');
    const expanded = command
      .replaceAll('$f', () => `"${path}"`)
      .replaceAll('$q', '"')
      .replace('signpipe.cmd', 'signpipe')
      .replace('C:\\ProgramData\\signpipe\\builder.yaml', world.site.builderConfig);
    await tool('sh', ['-c', `${expanded} --allow-test-certificate`], folder);
    await assertSigned(path);
  });

  it('wix: each target that WiX calls runs the command with what it has to sign', async () => {
    const text = await readFile(join(recipes, 'wix', 'Signpipe.targets'), 'utf8');
    const targets = [
      ...text.matchAll(/<Target Name="(\w+)">\s*<Exec Command="\$\(SignpipeCommand\) @\((\w+)->/g),
    ];
    const names = ['SignCabs', 'SignMsi', 'SignContainers', 'SignBundleEngine', 'SignBundle'];
    assert.deepEqual(
      targets.map(([, target, items]) => [target, items]),
      names.map((name) => [name, name]),
    );
    await run('xmllint', ['--noout', join(recipes, 'wix', 'Signpipe.targets')]);
  });
});

/** The compiled program: two scripts and their V8 code caches. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cp, mkdtemp, readFile, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { VERSION } from '../../src/lib/version.ts';
import { cacheFile, scriptFile, SCRIPTS, type ScriptName } from '../../src/build/program.ts';
import { compiled } from '../compiled.ts';

const run = promisify(execFile);
const root = resolve(import.meta.dirname, '../..');

describe('the compiled program', () => {
  let folder: string;
  let program: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'signpipe-bundle-'));
    await cp(join(root, 'dist'), join(folder, 'dist'), { recursive: true });
    await cp(join(root, 'package.json'), join(folder, 'package.json'));
    program = await compiled(join(root, 'src/build/program.ts'), join(folder, 'compiled'));
  });
  after(() => rm(folder, { recursive: true }));

  const version = async (main: string): Promise<string> =>
    (await run(process.execPath, [main, '--version'])).stdout.trim();

  it('runs through a link in another folder', async () => {
    const link = join(folder, 'signpipe');
    await symlink(join(root, 'dist/main.js'), link);
    assert.equal(await version(link), VERSION);
  });

  /** Whether V8 refuses the code cache of a script; undefined if there is none. */
  const refused = async (name: ScriptName, dist: string): Promise<string> => {
    const code = `new Scripts(${JSON.stringify(dist)}).script(${JSON.stringify(name)}).cachedDataRejected`;
    const { stdout } = await run(process.execPath, [
      '--print',
      `const { Scripts } = require(${JSON.stringify(program)}); ${code}`,
    ]);
    return stdout.trim();
  };

  it('is ASCII in the part that every command reads: such text is read faster', async () => {
    assert.match(await readFile(join(root, 'dist', scriptFile('near')), 'latin1'), /^[\0-\x7f]*$/);
  });

  it('has a code cache that V8 accepts', async () => {
    for (const name of SCRIPTS) assert.equal(await refused(name, join(root, 'dist')), 'false', name);
  });

  it('does not use the code cache of another script of the same length', async () => {
    const script = join(folder, 'dist', scriptFile('near'));
    const text = await readFile(script, 'latin1');
    await writeFile(script, text.replace('Git names the zip', 'Git NAMES the zip'), 'latin1');
    assert.equal(await refused('near', join(folder, 'dist')), 'undefined');
    await writeFile(script, text, 'latin1');
    assert.equal(await refused('near', join(folder, 'dist')), 'false');
  });

  it('runs without a code cache, and with a changed or truncated one', async () => {
    const main = join(folder, 'dist/main.js');
    const near = join(folder, 'dist', cacheFile('near'));
    const changed = await readFile(near);
    changed.writeUInt8(changed.readUInt8(100_000) ^ 1, 100_000);
    await writeFile(near, changed);
    assert.equal(await refused('near', join(folder, 'dist')), 'undefined');
    assert.equal(await version(main), VERSION);
    await truncate(near, 1000);
    assert.equal(await version(main), VERSION);
    await rm(near);
    assert.equal(await version(main), VERSION);
  });

  it('reports a missing part', async () => {
    const code = `openProgram(new Scripts(${JSON.stringify(join(folder, 'dist'))}))('none.js')`;
    const script = `const { openProgram, Scripts } = require(${JSON.stringify(program)}); ${code}`;
    await assert.rejects(run(process.execPath, ['--eval', script]), /has no part none\.js; build it again/);
  });

  it('runs short commands without the larger script', async () => {
    await rm(join(folder, 'dist', scriptFile('far')));
    assert.equal(await version(join(folder, 'dist/main.js')), VERSION);
  });
});

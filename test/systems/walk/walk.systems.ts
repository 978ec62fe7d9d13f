import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { makeSample } from '../../../src/sandbox/sample-release.ts';

const run = promisify(execFile);
const root = resolve(import.meta.dirname, '../../..');

/** The walk without the time that a person reads, in seconds. */
const LIMIT = 8 * 60;

describe('a newcomer sets up a site by the documents', () => {
  let folder = '';
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'signpipe-walk-'));
  });
  after(() => rm(folder, { recursive: true, force: true }));

  it('on a machine without network, with only Node, Git and OpenSSH, in three accounts', async () => {
    const prefix = join(folder, 'global');
    await run('npm', ['pack', '--ignore-scripts', '--pack-destination', folder], { cwd: root });
    const [tarball = ''] = (await readdir(folder)).filter((name) => name.endsWith('.tgz'));
    await run('npm', [
      'install',
      '--global',
      '--no-audit',
      '--no-fund',
      '--prefix',
      prefix,
      join(folder, tarball),
    ]);
    await run('chmod', ['755', folder]);
    await makeSample(join(folder, 'build.zip'));
    const begun = performance.now();
    const { status, output } = await inNamespaces(join(root, 'test/systems/walk/walk.ts'), folder, prefix);
    const seconds = (performance.now() - begun) / 1000;
    assert.equal(status, 0, output.slice(-6000));
    const timings = JSON.parse(await readFile(join(folder, 'timings.json'), 'utf8')) as [string, number][];
    console.log(timings.map(([what, ms]) => `${what}: ${(ms / 1000).toFixed(1)} s`).join('\n'));
    assert.ok(seconds < LIMIT, `${seconds} s`);
  });
});

/** Runs a script as root in a network without routes, with mounts and processes of its own. */
function inNamespaces(script: string, ...args: string[]): Promise<{ status: number; output: string }> {
  const command = ['-n', '-m', '-p', '-f', '--mount-proc', '--propagation', 'private', '--kill-child'];
  return new Promise((done, failed) => {
    const child = spawn('unshare', [...command, process.execPath, '--import', 'tsx', script, ...args], {
      cwd: root,
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: LIMIT * 1000,
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (data: Buffer) => (output += data.toString()));
    child.on('error', failed);
    child.on('close', (code) => done({ status: code ?? -1, output }));
  });
}

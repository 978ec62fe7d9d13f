/** Arguments that must be regular files, and those that may be pipes because they are read once. */
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { readOnce, withFile } from '../../../src/lib/bytes/byte-source.ts';
import { signpipe } from '../../world/site.ts';

const run = promisify(execFile);
const main = resolve(import.meta.dirname, '../../../dist/main.js');

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'signpipe-source-'));
  await run('mkfifo', [join(folder, 'pipe')]);
  await symlink('pipe', join(folder, 'link'));
  await mkdir(join(folder, 'folder'));
  await writeFile(join(folder, 'text'), 'abc');
});
after(() => rm(folder, { recursive: true }));

/** Asserts that it fails with the code within a second, although no process writes to the pipe. */
async function failsAtOnce(action: Promise<unknown>, code: string): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('it waits')), 1000);
  });
  await assert.rejects(Promise.race([action, late]), { code, kind: 'usage' });
  clearTimeout(timer);
}

describe('an argument that must be a file', () => {
  for (const name of ['pipe', 'link', 'folder', '/dev/zero', '/dev/null'])
    it(`not-a-file: ${name}`, async () => {
      await failsAtOnce(
        withFile(resolve(folder, name), (file) => file.read(0, file.size)),
        'not-a-file',
      );
    });

  it('not-a-file: a socket', async () => {
    const server = createServer().listen(join(folder, 'socket'));
    try {
      await failsAtOnce(
        withFile(join(folder, 'socket'), (file) => file.read(0, file.size)),
        'not-a-file',
      );
    } finally {
      server.close();
    }
  });

  for (const args of [
    ['verify', 'FIFO'],
    ['sign', 'FIFO', '--pfx', 'FIFO', '--output', 'signed.exe'],
    ['signature', 'extract', 'FIFO', '--output', 'out.p7'],
  ])
    it(`not-a-file: signpipe ${args.join(' ')} ends`, async () => {
      const argv = args.map((word) => (word === 'FIFO' ? join(folder, 'pipe') : word));
      const ended = await signpipe(argv, { cwd: folder, killAfter: 5000 });
      assert.equal(ended.status, 2, ended.stderr);
      assert.match(ended.stderr, /\[not-a-file\]/);
    });
});

describe('an argument that is read once', () => {
  it('is a file, up to the limit', async () => {
    assert.equal((await readOnce(join(folder, 'text'), 3))?.toString(), 'abc');
    assert.equal(await readOnce(join(folder, 'text'), 2), null);
  });

  for (const name of ['folder', '/dev/zero'])
    it(`not-a-file: ${name}`, () => failsAtOnce(readOnce(resolve(folder, name), 100), 'not-a-file'));

  it('may be a pipe that a writer fills slowly', async () => {
    const writer = spawn('sh', ['-c', `{ printf abc; sleep 0.2; printf def; } > ${join(folder, 'pipe')}`]);
    assert.equal((await readOnce(join(folder, 'pipe'), 100))?.toString(), 'abcdef');
    if (writer.exitCode === null) await new Promise((done) => writer.once('close', done));
  });

  it('may be a configuration that a shell makes: -c <(…)', async () => {
    const script = `${process.execPath} ${main} doctor -c <(echo 'contrl: {}')`;
    const ended = await run('bash', ['-c', script]).then(
      () => assert.fail('it cannot succeed'),
      (error: unknown) => error as { code: number; stderr: string },
    );
    assert.equal(ended.code, 2);
    assert.match(ended.stderr, /contrl/);
  });
});

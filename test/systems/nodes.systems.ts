import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';

const run = promisify(execFile);
const root = resolve(import.meta.dirname, '../..');

/** The supported major versions besides the oldest, with which all other tests run. */
const VERSIONS = [22, 24, 26];

/** Tests of what is most likely to differ between versions: threads, streams, TLS, zlib, keys; and the main job. */
const PATTERNS = [
  'lib/zip/',
  'lib/bytes/',
  'engine/keys/',
  'engine/timestamp/',
  'app/signer/main-job',
  'app/signer/supervisor/watching',
  'cli/commands/demo',
];

/** An environment that is independent of this test run, with `node` first in its PATH. */
function environmentFor(node: string): NodeJS.ProcessEnv {
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  return { ...env, PATH: `${dirname(node)}${delimiter}${env['PATH'] ?? ''}` };
}

describe('other versions of Node', () => {
  let folder = '';
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'signpipe-nodes-'));
  });
  after(() => rm(folder, { recursive: true, force: true }));

  for (const version of VERSIONS) {
    it(`Node ${version}: the demo, and the tests of what may differ between versions`, async () => {
      const place = join(folder, String(version));
      const name = `node-${process.platform}-${process.arch}`;
      await run('npm', ['install', '--no-audit', '--no-fund', '--prefix', place, `${name}@${version}`]);
      const node = join(place, 'node_modules', name, 'bin/node');
      const options = { cwd: root, env: environmentFor(node), maxBuffer: 2 ** 26 };
      assert.match((await run(node, ['--version'])).stdout, new RegExp(`^v${version}\\.`));
      const demo = await run(
        node,
        ['dist/main.js', 'demo', '--dir', join(folder, `demo-${version}`)],
        options,
      );
      assert.match(demo.stdout, /and nothing else/);
      const args = ['--import', 'tsx', 'test/run.ts', ...PATTERNS];
      const { stdout } = await run(node, args, options).catch((error: { stdout: string }) => error);
      const failed = stdout.split('\n').filter((text) => /✖|not ok/.test(text));
      assert.match(stdout, /^# fail 0$/m, failed.join('\n'));
      const [, passed = '0'] = /^# pass (\d+)$/m.exec(stdout) ?? [];
      assert.ok(Number(passed) > 100, `${passed} tests passed`);
    });
  }
});

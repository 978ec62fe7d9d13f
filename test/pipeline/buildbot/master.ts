/** A real Buildbot master and its workers on the loopback, with the shipped master.cfg. */
import assert from 'node:assert/strict';
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { gitEnvironment, type World } from '../../world/site.ts';
import { pipeline } from '../site.ts';

const run = promisify(execFile);
const main = join(import.meta.dirname, '../../../dist/main.js');

/** Buildbot's numbers for results. */
export const RESULTS = [
  'success',
  'warnings',
  'failure',
  'skipped',
  'exception',
  'retry',
  'cancelled',
] as const;

export interface Build {
  readonly buildid: number;
  readonly number: number;
  readonly results: number | null;
  readonly complete: boolean;
}

export interface Step {
  readonly name: string;
  readonly state_string: string;
  readonly results: number | null;
  readonly stepid: number;
}

export interface MasterOptions {
  readonly world: World;
  /** Whether builds wait for their signatures. */
  readonly wait: boolean;
  /** The zip that every build of the product makes; a build may replace it. */
  readonly zip: string;
  /** More lines of Site(). */
  readonly site?: string;
  /** More lines at the end of master.cfg. */
  readonly more?: string;
}

/** The worker's signpipe. While there is a file `signpipe.slow`, `submit` reports late: its request is pushed, its id not known. */
const PROGRAM = `#!/bin/sh
reply=$(${process.execPath} ${main} "$@") || status=$?
if [ "$1" = submit ] && [ -e "$0.slow" ]; then sleep 4; fi
printf '%s\\n' "$reply"
exit "\${status:-0}"
`;

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as AddressInfo;
  await new Promise((done) => server.close(done));
  return port;
}

/** The shipped master.cfg with what a site fills in, and the tests' way to ask the master. */
async function configuration(
  options: MasterOptions,
  port: number,
  portFile: string,
  program: string,
): Promise<string> {
  const { world, wait, zip, site = '', more = '' } = options;
  const shipped = await readFile(pipeline('builder/buildbot/master.cfg'), 'utf8');
  const filled = shipped
    .replace(
      'config="/home/buildbot/signpipe/builder.yaml"',
      `config="${world.site.builderConfig}", program=("${program}",), allow_test_certificate=True, timeout="60s"${site}`,
    )
    .replace('WAIT = True', `WAIT = ${wait ? 'True' : 'False'}`)
    .replace('tcp:9989:', `tcp:${port}:`)
    .replace('["MAKE", "build.zip"]', `["cp", "${zip}", "build.zip"]`)
    .replace('ssh://git@build.example.org/srv/control.git', `file://${world.control}`)
    .replace('pollInterval=10', 'pollInterval=1');
  return `${filled}
sys.path.insert(0, ${JSON.stringify(import.meta.dirname)})
import control
c["services"] = [control.Control(port_file=${JSON.stringify(portFile)})]
c["buildbotNetUsageData"] = None
${more}`;
}

/** A child whose end is an error while the test runs. */
function start(command: string, args: readonly string[], env: NodeJS.ProcessEnv): ChildProcess {
  return spawn(command, args, { env, stdio: ['ignore', 'ignore', 'inherit'] });
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  const ended = new Promise((done) => child.once('exit', done));
  child.kill('SIGTERM');
  await Promise.race([ended, sleep(10_000).then(() => child.kill('SIGKILL'))]);
}

export class Buildbot {
  private constructor(
    readonly folder: string,
    /** Of the master's data interface. */
    private readonly port: number,
    private readonly children: readonly ChildProcess[],
  ) {}

  static async start(options: MasterOptions): Promise<Buildbot> {
    const folder = await mkdtemp(join(tmpdir(), 'signpipe-buildbot-'));
    const port = await freePort();
    const portFile = join(folder, 'port');
    const env = {
      ...gitEnvironment(),
      PRODUCT_WORKER_PASSWORD: 'one',
      SIGNING_WORKER_PASSWORD: 'two',
      // What Debian packages is Debian's Python.
      PATH: `/usr/bin:${process.env['PATH'] ?? ''}`,
    };
    await run('buildbot', ['create-master', '--quiet', '--config=master.cfg', join(folder, 'master')], {
      env,
    });
    const module = 'signpipe_buildbot.py';
    await copyFile(pipeline(`builder/buildbot/${module}`), join(folder, 'master', module));
    const program = join(folder, 'signpipe');
    await writeFile(program, PROGRAM, { mode: 0o755 });
    await writeFile(
      join(folder, 'master', 'master.cfg'),
      await configuration(options, port, portFile, program),
    );
    await run('buildbot', ['checkconfig', join(folder, 'master')], { env }).catch(
      (error: { stdout: string }) => {
        throw new Error(error.stdout);
      },
    );
    const children = [start('buildbot', ['start', '--nodaemon', join(folder, 'master')], env)];
    for (const [name, password] of [['product', 'one'] as const, ['signing', 'two'] as const]) {
      const at = join(folder, name);
      await run('buildbot-worker', ['create-worker', '--quiet', at, `127.0.0.1:${port}`, name, password], {
        env,
      });
      children.push(start('buildbot-worker', ['start', '--nodaemon', at], env));
    }
    const bot = new Buildbot(folder, await readPort(portFile), children);
    try {
      await bot.until('both workers are there', () => bot.hasWorkers());
    } catch (error) {
      await bot.stop();
      throw error;
    }
    return bot;
  }

  private async hasWorkers(): Promise<boolean> {
    const workers = await this.get<{ connected_to: unknown[] }[]>('workers');
    return workers.length === 2 && workers.every(({ connected_to }) => connected_to.length > 0);
  }

  /** Makes `submit` report the request's id four seconds late, or no longer. */
  slow(on: boolean): Promise<void> {
    const file = join(this.folder, 'signpipe.slow');
    return on ? writeFile(file, '') : rm(file, { force: true });
  }

  /** A path in the master's folder. */
  at(...names: string[]): string {
    return join(this.folder, 'master', ...names);
  }

  /** What the master's data interface says about something. */
  async get<T>(path: string): Promise<T> {
    const response = await fetch(`http://127.0.0.1:${this.port}/${path}`);
    return (await response.json()) as T;
  }

  async control(action: string, path: string, args: object = {}): Promise<unknown> {
    const response = await fetch(`http://127.0.0.1:${this.port}/${action}/${path}`, {
      method: 'POST',
      body: JSON.stringify(args),
    });
    return response.json();
  }

  async until<T>(what: string, holds: () => Promise<T | false | null | undefined>): Promise<T> {
    const end = performance.now() + 60_000;
    for (;;) {
      const result = await holds();
      if (result) return result;
      assert.ok(performance.now() < end, `timed out: ${what}\n${await this.log()}`);
      await sleep(200);
    }
  }

  /** The end of the master's log. */
  async log(): Promise<string> {
    return (await readFile(this.at('twistd.log'), 'utf8').catch(() => '')).slice(-4000);
  }

  async builderId(name: string): Promise<number> {
    const builders = await this.get<{ name: string; builderid: number }[]>('builders');
    return builders.find((each) => each.name === name)?.builderid ?? assert.fail(name);
  }

  /** Starts a build of the product by hand, as its page does. */
  async force(builder = 'product', scheduler = 'force'): Promise<void> {
    const builderid = await this.builderId(builder);
    await this.control('force', `forceschedulers/${scheduler}`, { builderid, owner: 'test', reason: 'test' });
  }

  /** The build of this builder with this number, when it has begun. */
  async build(builder: string, number: number): Promise<Build> {
    const id = await this.builderId(builder);
    return this.until(`${builder} ${number} begins`, async () => {
      const builds = await this.get<Build[]>(`builders/${id}/builds`);
      return builds.find((each) => each.number === number);
    });
  }

  async builds(builder: string): Promise<Build[]> {
    return this.get<Build[]>(`builders/${await this.builderId(builder)}/builds`);
  }

  steps({ buildid }: Build): Promise<Step[]> {
    return this.get<Step[]>(`builds/${buildid}/steps`);
  }

  /** Waits for the end of a build; its result, and its steps by name. */
  async ended(builder: string, number: number): Promise<{ result: string; steps: Record<string, Step> }> {
    const build = await this.build(builder, number);
    const done = await this.until(`${builder} ${number} ends`, async () => {
      const now = await this.get<Build>(`builds/${build.buildid}`);
      return now.complete && now;
    });
    const steps = await this.steps(build);
    return {
      result: RESULTS[done.results ?? 0] ?? '',
      steps: Object.fromEntries(steps.map((step) => [step.name, step])),
    };
  }

  /** Waits until a step of a build says something. */
  said(build: Build, name: string, text: RegExp): Promise<Step> {
    return this.until(`${name}: ${text.source}`, async () =>
      (await this.steps(build)).find((step) => step.name === name && text.test(step.state_string)),
    );
  }

  async stop(): Promise<void> {
    await Promise.all(this.children.map(stop));
    await rm(this.folder, { recursive: true, force: true });
  }
}

async function readPort(file: string): Promise<number> {
  for (let tries = 0; tries < 300; tries += 1) {
    const text = await readFile(file, 'utf8').catch(() => '');
    if (text !== '') return Number(text);
    await sleep(100);
  }
  return assert.fail('the master did not start');
}

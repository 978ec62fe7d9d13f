import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { appendFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { after } from 'node:test';
import { promisify } from 'node:util';
import { pino } from 'pino';
import { loadSignerConfig } from '../../src/app/config/signer.ts';
import { noProgress } from '../../src/lib/progress.ts';
import { openSignerContext } from '../../src/app/signer/context/signer-context.ts';
import type { Receipt } from '../../src/protocol/control/receipt-schema.ts';
import { RequestPoller, type PollResult } from '../../src/app/signer/request/request-poller.ts';
import { toPem } from '../../src/sandbox/certificates.ts';
import { layOutSite, writeConfigs, type SandboxSite, type SitePlaces } from '../../src/sandbox/site.ts';
import {
  startTimestampAuthority,
  type RunningAuthority,
  type TimestampAuthorityOptions,
} from '../../src/sandbox/timestamp-authority.ts';
import { hostKeys, publisherKey } from './shared-keys.ts';
import { startSshd, type Sshd, type SshdOptions } from './sshd.ts';

const run = promisify(execFile);
const root = resolve(import.meta.dirname, '../..');

/** The result of a command line. */
export interface Ended {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** An environment in which git reads no configuration of this account or machine. */
export const gitEnvironment = (): NodeJS.ProcessEnv => ({
  ...process.env,
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_CONFIG_GLOBAL: '/dev/null',
  GIT_TERMINAL_PROMPT: '0',
});

/** Asserts that a command ended with this status, and with an error of this code, whose text matches `says`. */
export function assertRefused({ status, stderr }: Ended, expected: number, code: string, says = /./): void {
  assert.equal(status, expected, stderr);
  assert.match(stderr, new RegExp(`\\[${code}\\]`));
  assert.match(stderr, says);
}

/** Runs the command line in its own process. */
export function signpipe(
  args: readonly string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv; signal?: AbortSignal; killAfter?: number } = {},
): Promise<Ended> {
  return new Promise((done, failed) => {
    const child = spawn(process.execPath, [join(root, 'dist/main.js'), ...args], {
      cwd: options.cwd,
      env: { ...process.env, ...options.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let [stdout, stderr] = ['', ''];
    child.stdout.on('data', (data: Buffer) => (stdout += data.toString()));
    child.stderr.on('data', (data: Buffer) => (stderr += data.toString()));
    const timer =
      options.killAfter === undefined
        ? undefined
        : setTimeout(() => child.kill('SIGKILL'), options.killAfter);
    child.on('error', failed);
    child.on('close', (code) => {
      clearTimeout(timer);
      done({ status: code ?? -1, stdout, stderr });
    });
    options.signal?.addEventListener('abort', () => child.kill('SIGTERM'), { once: true });
  });
}

export interface RequestOptions {
  readonly message?: string;
  /** Null for an unsigned commit; a key's path; the builder's key unless given. */
  readonly sign?: string | null;
  /** Committer time, as Git's environment has it. */
  readonly date?: string;
  /** Changes other files of the clone. */
  readonly change?: (folder: string) => Promise<void>;
}

export interface WorldOptions {
  readonly sshd?: SshdOptions;
  /** `scp` for the legacy protocol. */
  readonly exchangeScheme?: 'sftp' | 'scp';
  /** False only for speed: signer and builder use file:// URLs, for tests that do not concern SSH. */
  readonly ssh?: boolean;
  readonly timestamp?: TimestampAuthorityOptions;
}

/** A real sshd with a bare control repository and an exchange, an authority, a signer and a builder. */
export class World {
  private constructor(
    readonly sshd: Sshd,
    readonly authority: RunningAuthority,
    readonly site: SandboxSite,
    readonly places: SitePlaces,
  ) {}

  static async start(options: WorldOptions = {}): Promise<World> {
    const sshd = await startSshd({ keysFrom: await hostKeys(), ...options.sshd });
    const dir = join(sshd.folder, 'site');
    const site = await layOutSite(dir, await publisherKey());
    for (const key of site.authorizedKeys) await sshd.authorize(key);
    const authority = await startTimestampAuthority({
      identity: site.pki.timestamping,
      ...options.timestamp,
    });
    const host = join(sshd.folder, 'host');
    for (const folder of ['incoming', 'signed'])
      await mkdir(join(host, 'exchange', folder), { recursive: true });
    await run('git', ['init', '--quiet', '--bare', '--initial-branch=main', join(host, 'control.git')], {
      env: gitEnvironment(),
    });
    await writeFile(join(dir, 'keys', 'known_hosts'), await readFile(sshd.knownHosts));
    await writeFile(join(dir, 'tsa.pem'), toPem([authority.root]));
    const places = {
      control: sshd.url(join(host, 'control.git'), 'ssh'),
      exchange: sshd.url(join(host, 'exchange'), options.exchangeScheme ?? 'sftp'),
      timestamp: [authority.url],
      ssh: true,
    };
    await writeConfigs(site, places);
    const world = new World(sshd, authority, site, places);
    await world.configure('retry: { attempts: 2, wait: 1s }');
    if (options.ssh === false) await world.withoutSsh();
    return world;
  }

  /** A path in the site's folder. */
  at(...names: string[]): string {
    return join(this.site.dir, ...names);
  }

  /** The bare control repository on the host. */
  get control(): string {
    return join(this.sshd.folder, 'host', 'control.git');
  }

  /** A file of the exchange, on the host. */
  exchange(...names: string[]): string {
    return join(this.sshd.folder, 'host', 'exchange', ...names);
  }

  /** Adds lines to signer.yaml. */
  configure(lines: string): Promise<void> {
    return appendFile(this.site.signerConfig, `${lines}\n`);
  }

  /** Changes signer.yaml. */
  async reconfigure(change: (text: string) => string): Promise<void> {
    await writeFile(this.site.signerConfig, change(await readFile(this.site.signerConfig, 'utf8')));
  }

  /** Makes signer and builder use file:// URLs. */
  async withoutSsh(): Promise<void> {
    const [control, exchange] = [`file://${this.control}`, `file://${this.exchange()}`];
    for (const config of [this.site.signerConfig, this.site.builderConfig]) {
      const text = (await readFile(config, 'utf8'))
        .replace(/^( {2}url: )ssh:.*$/m, (_, key: string) => `${key}${control}`)
        .replace(/^( {2}url: )(?:sftp|scp):.*$/m, (_, key: string) => `${key}${exchange}`);
      await writeFile(config, text);
    }
  }

  async git(...args: string[]): Promise<string> {
    const { stdout } = await run('git', ['-C', this.control, ...args], {
      env: gitEnvironment(),
      maxBuffer: 64 * 2 ** 20,
    });
    return stdout.trim();
  }

  /** `signpipe submit`; the request's id. */
  async submit(files: readonly string[], ...more: string[]): Promise<string> {
    const ended = await signpipe(['submit', '-c', this.site.builderConfig, ...files, ...more]);
    if (ended.status !== 0) throw new Error(`submit: ${ended.status}\n${ended.stderr}`);
    return ended.stdout.trim();
  }

  /** `signpipe watch --once`. */
  watchOnce(): Promise<Ended> {
    return signpipe(['watch', '-c', this.site.signerConfig, '--once']);
  }

  /** A signer in this process, for several polls; `close` it. `now` is its clock. */
  async openSigner(now?: () => Date): Promise<{ signer: RequestPoller; close: () => Promise<void> }> {
    const opened = await openSignerContext(await loadSignerConfig(this.site.signerConfig), {
      log: this.log,
      progress: noProgress,
      ...(now ? { now } : {}),
    });
    return { signer: new RequestPoller(opened), close: () => opened.close() };
  }

  private kept: { signer: RequestPoller; close: () => Promise<void> } | undefined;

  /**
   * Only for speed: from now on one signer polls, in place of one for each poll, which takes half of the time. It is closed
   * by `stop`. Not for tests that change signer.yaml or its keys later, or run another signer.
   */
  async keepSigner(): Promise<void> {
    this.kept = await this.openSigner();
  }

  /** Does some work with a signer in this process, and closes it unless it is kept. */
  async withSigner<T>(work: (signer: RequestPoller) => Promise<T>, now?: () => Date): Promise<T> {
    if (this.kept) {
      assert.equal(now, undefined, 'the signer that is kept has the clock of this machine');
      return work(this.kept.signer);
    }
    const { signer, close } = await this.openSigner(now);
    try {
      return await work(signer);
    } finally {
      await close();
    }
  }

  /** A poll in this process, which is faster than another process. Throws what `poll` throws. */
  poll(now?: () => Date): Promise<PollResult> {
    return this.withSigner((signer) => signer.poll(), now);
  }

  /** The log of the signer in this process, as JSON records. */
  readonly logged: Record<string, unknown>[] = [];
  private readonly log = pino(
    { base: null, level: 'debug' },
    { write: (line: string) => void this.logged.push(JSON.parse(line) as Record<string, unknown>) },
  );

  /** `signpipe signature attach` with the receipt of a request: rebuilds the signed file from an unsigned one. */
  attach(file: string, request: string, output: string): Promise<Ended> {
    return signpipe([
      'signature',
      'attach',
      file,
      '--receipt',
      request,
      '--repo',
      this.control,
      '-o',
      output,
    ]);
  }

  /** `signpipe verify`, with the roots of the site: proves that a file is the original plus signatures. */
  verify(file: string, original: string): Promise<Ended> {
    const roots = ['--ca', this.at('ca.pem'), '--timestamp-ca', this.at('tsa.pem')];
    return signpipe(['verify', file, '--original', original, ...roots]);
  }

  /** `signpipe wait`, with the output in the site's folder `out`. */
  wait(request: string, ...more: string[]): Promise<Ended> {
    const where = ['-c', this.site.builderConfig, '--output', this.at('out')];
    return signpipe(['wait', request, ...where, '--timeout', '20s', '--allow-test-certificate', ...more]);
  }

  /** receipt.json of the newest receipt, or of an earlier one, counted back from it. */
  async receipt(before = 0): Promise<Receipt> {
    return JSON.parse(await this.git('show', `signed~${before}:receipt.json`)) as Receipt;
  }

  /**
   * A request as a builder without Node makes it: only with git, with any content of `zipname`, signed by the builder's
   * key unless another is given. Returns its id.
   */
  async request(zipname: string | Buffer, options: RequestOptions = {}): Promise<string> {
    const clone = await this.cloneByHand();
    const key = options.sign === undefined ? this.at('keys', 'builder_ed25519') : options.sign;
    const git = gitAs(clone, key, options.date);
    await writeFile(join(clone, 'zipname'), zipname);
    await options.change?.(clone);
    await git('add', '--all');
    await git('commit', '--quiet', ...(key === null ? [] : ['-S']), '-m', options.message ?? 'Sign it');
    await git('push', '--quiet', 'origin', 'main');
    return git('rev-parse', 'HEAD');
  }

  /** A clone with `main` as it is on the host: that of the last request, unless there were other commits meanwhile. */
  private async cloneByHand(): Promise<string> {
    const clone = this.at('by-hand');
    const tipOf = (...path: string[]): Promise<string> =>
      readFile(join(...path, 'refs', 'heads', 'main'), 'utf8').catch(() => '');
    const [here, there] = await Promise.all([tipOf(clone, '.git'), tipOf(this.control)]);
    if (here !== '' && here === there) return clone;
    await rm(clone, { recursive: true, force: true });
    await run('git', ['clone', '--quiet', this.control, clone], { env: gitEnvironment() });
    await gitAs(clone, null, undefined)('checkout', '--quiet', '-B', 'main');
    return clone;
  }

  async stop(): Promise<void> {
    await this.kept?.close();
    await this.authority.close();
    await this.sshd.stop();
  }
}

/** A world for all tests of one file. */
export async function startWorld(options: WorldOptions = {}): Promise<World> {
  const world = await World.start(options);
  after(() => world.stop());
  return world;
}

/** Runs git in a clone, with the settings of a person who signs with `key`; returns its output. */
function gitAs(
  clone: string,
  key: string | null,
  date: string | undefined,
): (...args: string[]) => Promise<string> {
  const env = { ...gitEnvironment(), ...(date === undefined ? {} : { GIT_COMMITTER_DATE: date }) };
  const settings = ['user.name=By Hand', 'user.email=hand@example.org', 'gpg.format=ssh'];
  if (key !== null) settings.push(`user.signingkey=${key}`);
  const options = ['-C', clone, ...settings.flatMap((setting) => ['-c', setting])];
  return async (...args) => (await run('git', [...options, ...args], { env })).stdout.trim();
}

import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { keyToPem, toPem } from '../../src/sandbox/certificates.ts';
import { World, type WorldOptions } from '../world/site.ts';
import { NetworkProxy, type NetworkProxyOptions } from './network-proxy.ts';
import type { AuthorityInput } from './authority.ts';
import type { Corpus } from './corpus/corpus.ts';
import { measure, root, sha256Of, signpipe, type Sample } from './measure.ts';
import { cpuOf } from './process.ts';
import { parseLog, RunningSigner, stagesOf } from './running.ts';

const run = promisify(execFile);

interface Authority {
  readonly url: string;
  readonly process: ChildProcess;
}

const rewrite = async (file: string, change: (text: string) => string): Promise<void> =>
  writeFile(file, change(await readFile(file, 'utf8')));

/** The branch of the requests to today's script, which our signer does not read. */
const ASKED = 'asked';

/** A site to measure: a real sshd with control repository and exchange, timestamp authorities, our signer, today's tools. */
export class Place {
  private readonly authorities = new Map<number, Authority>();
  /** Lines of `zipname` for a corpus that is on the exchange, by the kind of pin. */
  private readonly pins = new Map<string, readonly string[]>();
  private requests = 0;

  private constructor(
    readonly world: World,
    readonly certificate: string,
    readonly key: string,
    readonly sshConfig: string,
  ) {}

  static async start(options: WorldOptions = {}): Promise<Place> {
    const world = await World.start(options);
    const { codeSigning } = world.site.pki;
    const [certificate, key] = [world.at('today-chain.pem'), world.at('today-key.pem')];
    await writeFile(certificate, toPem(codeSigning.chain.filter((each) => !each.isSelfIssued)));
    await writeFile(key, keyToPem(codeSigning.key), { mode: 0o600 });
    const sshConfig = world.at('ssh_config');
    await writeFile(
      sshConfig,
      `Host far
  HostName 127.0.0.1
  Port ${world.sshd.port}
Host far 127.0.0.1
  User ${userInfo().username}
  IdentityFile ${world.sshd.clientKey}
  IdentitiesOnly yes
  UserKnownHostsFile ${world.sshd.knownHosts}
  StrictHostKeyChecking yes
  BatchMode yes
`,
    );
    const place = new Place(world, certificate, key, sshConfig);
    await place.begin();
    return place;
  }

  /** A first request, refused since its file does not exist: afterwards clones and connections exist, as usual. */
  private async begin(): Promise<void> {
    await this.world.request('not-there.zip\n');
    await measure(this.watch());
  }

  watch(): string[] {
    return signpipe('watch', '-c', this.world.site.signerConfig, '--once', '--json');
  }

  /** Options of `signpipe sign` for the key that all ways use, from the PEM files that osslsigncode reads. */
  signOptions(): string[] {
    return ['--certificate', this.certificate, '--key', this.key, '-q'];
  }

  /** The command `osslsigncode sign` with the same key. */
  osslsigncode(): string[] {
    return ['osslsigncode', 'sign', '-certs', this.certificate, '-key', this.key, '-h', 'sha256'];
  }

  /** The authority that answers after `delayMs`; started on first use. */
  async authority(delayMs: number): Promise<Authority> {
    const there = this.authorities.get(delayMs);
    if (there) return there;
    const { timestamping } = this.world.site.pki;
    const child = spawn(process.execPath, ['--import', 'tsx', join(import.meta.dirname, 'authority.ts')], {
      cwd: root,
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const input: AuthorityInput = {
      key: keyToPem(timestamping.key),
      chain: timestamping.chain.map(({ raw }) => raw.toString('base64')),
      delayMs,
    };
    child.stdin.end(JSON.stringify(input));
    const [said] = (await once(child.stdout, 'data')) as [Buffer];
    const made = { url: said.toString().trim(), process: child };
    this.authorities.set(delayMs, made);
    return made;
  }

  /** Configures our signer to sign the programs of a corpus and to use this authority. */
  private async configure(corpus: Corpus, delayMs: number): Promise<void> {
    const { url } = await this.authority(delayMs);
    await this.world.reconfigure((text) =>
      text
        .replace(/^ {2}(timestamp|files): .*\n/gm, '')
        .replace(
          /^signing:\n/m,
          `signing:\n  files: ${JSON.stringify(corpus.patterns)}\n  timestamp: ["${url}"]\n`,
        ),
    );
  }

  /** Copies a corpus to the exchange and requests it, pinning the zip or each program of ours in it. */
  async request(corpus: Corpus, pinned: 'zip' | 'entries' = 'zip'): Promise<string> {
    return this.world.request(await this.zipname(corpus, pinned));
  }

  private async zipname(corpus: Corpus, pinned: 'zip' | 'entries'): Promise<string> {
    const name = `${corpus.name}.zip`;
    const key = `${pinned} ${name}`;
    if (!this.pins.has(key)) {
      await copyFile(corpus.zip, this.world.exchange('incoming', name));
      const whole = async (): Promise<string[]> => [`${await sha256Of(corpus.zip)}  ${name}`];
      this.pins.set(key, pinned === 'zip' ? await whole() : await this.entryPins(corpus));
    }
    // The comment makes each commit a change, although the zip is the same.
    return `# ${(this.requests += 1)}\n${(this.pins.get(key) ?? []).join('\n')}\n`;
  }

  /** Compressed size of the programs of ours in the zip. */
  async compressed({ zip, ours }: Corpus): Promise<number> {
    const { stdout } = await run('unzip', ['-v', zip, ...ours]);
    const [, bytes] = /^\s*\d+\s+(\d+)\s+-?\d+%\s+\d+ files?$/m.exec(stdout) ?? [];
    return Number(bytes);
  }

  /** Requests a corpus of today's script, on another branch, which our running signer does not read. */
  private async askToday(corpus: Corpus): Promise<void> {
    const { world } = this;
    const file = world.at('today-zipname');
    await writeFile(file, await this.zipname(corpus, 'zip'));
    const blob = await world.git('hash-object', '-w', file);
    await writeFile(file, `100644 blob ${blob}\tzipname\n`);
    const { stdout } = await run('bash', ['-c', 'git -C "$1" mktree < "$2"', 'mktree', world.control, file]);
    const parent = await world.git('rev-parse', '-q', '--verify', `refs/heads/${ASKED}`).catch(() => 'main');
    const named = ['-c', 'user.name=today', '-c', 'user.email=today@example.org'];
    const commit = await world.git(...named, 'commit-tree', stdout.trim(), '-p', parent, '-m', 'Sign it');
    await world.git('update-ref', `refs/heads/${ASKED}`, commit);
  }

  private async entryPins({ name, zip, ours }: Corpus): Promise<string[]> {
    const script = 'unzip -p "$1" "$2" | sha256sum';
    const digests = ours.map(async (path) => {
      const { stdout } = await run('bash', ['-o', 'pipefail', '-c', script, 'pin', zip, path]);
      return `${stdout.slice(0, 64)}  ${name}.zip!/${path}`;
    });
    return Promise.all(digests);
  }

  /** Adds the authority's CPU to a sample. */
  private async counted(delayMs: number, work: () => Promise<Sample>): Promise<Sample> {
    const { process: server } = await this.authority(delayMs);
    const before = await cpuOf(server.pid ?? 0);
    const sample = await work();
    return { ...sample, authority: (await cpuOf(server.pid ?? 0)) - before };
  }

  /** Leads our signer, today's tools and all other users of `world.sshd` through a network proxy meanwhile. */
  async through<T>(
    options: Omit<NetworkProxyOptions, 'port'>,
    work: (network: NetworkProxy) => Promise<T>,
  ): Promise<T> {
    const { port } = this.world.sshd;
    const network = await NetworkProxy.open({ ...options, port });
    const move = async (from: number, to: number): Promise<void> => {
      await this.world.reconfigure((text) => text.replaceAll(`:${from}/`, `:${to}/`));
      await rewrite(this.sshConfig, (text) => text.replace(`Port ${from}`, `Port ${to}`));
      for (const file of [this.world.at('keys', 'known_hosts'), this.world.sshd.knownHosts])
        await rewrite(file, (text) => text.replaceAll(`]:${from} `, `]:${to} `));
    };
    await move(port, network.port);
    try {
      return await work(network);
    } finally {
      await move(network.port, port);
      await network.close();
    }
  }

  /** Runs something once more through a proxy that counts bytes; it costs time, so only the bytes are measured. */
  bytes(work: () => Promise<unknown>): Promise<{ sent: number; received: number }> {
    return this.through({}, async ({ passed }) => {
      await work();
      return { sent: passed.there, received: passed.back };
    });
  }

  private get state(): string {
    return this.world.at('signer-state');
  }

  /** One request, answered by a signer process from its start to its end. */
  async ours(corpus: Corpus, delayMs: number): Promise<Sample> {
    await this.configure(corpus, delayMs);
    return this.counted(delayMs, async () => {
      const { stdout, ...sample } = await measure(this.watch(), { watchFolder: join(this.state, 'work') });
      if (!stdout.includes('"outcome":"signed"')) throw new Error(`nothing was signed:\n${stdout}`);
      return { ...sample, stages: stagesOf(parseLog(stdout)) };
    });
  }

  /** Configures our signer, and runs `use` while it polls in its own process. */
  async running<T>(corpus: Corpus, delayMs: number, use: (signer: RunningSigner) => Promise<T>): Promise<T> {
    await this.configure(corpus, delayMs);
    return this.resting(use);
  }

  /** Runs `use` while our signer, as it is configured, polls in its own process. */
  async resting<T>(use: (signer: RunningSigner) => Promise<T>): Promise<T> {
    const signer = await RunningSigner.start(this.world.site.signerConfig, this.state);
    try {
      return await use(signer);
    } finally {
      await signer.stop();
    }
  }

  /** One request to a running signer. */
  answered(
    signer: RunningSigner,
    corpus: Corpus,
    delayMs: number,
    pinned: 'zip' | 'entries',
  ): Promise<Sample> {
    return this.counted(delayMs, () => signer.measureRequest(() => this.request(corpus, pinned)));
  }

  /** One pass of today's script: from the fetch that sees a new request until its answer is pushed. */
  async today(corpus: Corpus, delayMs: number, settings: { pack: string; jobs?: number }): Promise<Sample> {
    const { url } = await this.authority(delayMs);
    const work = this.world.at('today');
    const env = {
      ...process.env,
      WORK: work,
      CONTROL: `ssh://far${this.world.control}`,
      BRANCH: ASKED,
      SSH_CONF: this.sshConfig,
      EXCHANGE: this.world.exchange(),
      CERT: this.certificate,
      KEY: this.key,
      TSA: url,
      LIST: corpus.list,
      PACK: settings.pack,
      JOBS: String(settings.jobs ?? 1),
    };
    const script = join(import.meta.dirname, 'today.sh');
    await run(script, ['prepare'], { env });
    await this.askToday(corpus);
    return this.counted(delayMs, async () => {
      const { rss } = await measure([script], { env });
      return { ...(await scriptSample(work)), rss };
    });
  }

  /** Verifies some programs of a signed zip with osslsigncode, whose exit status alone proves nothing. */
  async check(zip: string, paths: readonly string[]): Promise<void> {
    const folder = this.world.at('checked');
    await run('rm', ['-rf', folder]);
    await run('unzip', ['-q', '-o', zip, ...paths, '-d', folder]);
    for (const path of paths) await this.checkProgram(join(folder, path));
    await run('rm', ['-rf', folder]);
  }

  async checkProgram(program: string): Promise<void> {
    const roots = ['-CAfile', this.world.at('ca.pem'), '-TSA-CAfile', this.world.at('tsa.pem')];
    const { stdout } = await run('osslsigncode', ['verify', ...roots, '-in', program]);
    for (const line of ['Signature verification: ok', 'Timestamp Server Signature verification: ok'])
      if (!stdout.includes(line)) throw new Error(`${program}: no "${line}"\n${stdout}`);
  }

  async stop(): Promise<void> {
    for (const { process: child } of this.authorities.values()) child.kill();
    await this.world.stop();
  }
}

/** The sample that today's script wrote about itself. */
async function scriptSample(work: string): Promise<Sample> {
  const lines = (await readFile(join(work, 'stages'), 'utf8')).trim().split('\n');
  const stages = Object.fromEntries(
    lines.map((line): [string, number] => [line.split(' ')[0] ?? '', Number(line.split(' ')[1])]),
  );
  const wall = Object.values(stages).reduce((sum, each) => sum + each, 0);
  const used = (await readFile(join(work, 'used'), 'utf8')).trim().split(' ').map(Number);
  const [cpu = NaN, scratch = NaN, sent = NaN, received = NaN] = used;
  return { wall, cpu, scratch, sent, received, stages };
}

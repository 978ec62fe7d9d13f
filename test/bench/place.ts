import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { keyToPem, toPem } from '../../src/sandbox/certificates.ts';
import { World } from '../world/site.ts';
import { Line } from './line.ts';
import type { AuthorityInput } from './authority.ts';
import type { Corpus } from './corpus/corpus.ts';
import { measure, root, sha256Of, signpipe, type Sample } from './measure.ts';

const run = promisify(execFile);

interface Authority {
  readonly url: string;
  readonly process: ChildProcess;
}

const rewrite = async (file: string, change: (text: string) => string): Promise<void> =>
  writeFile(file, change(await readFile(file, 'utf8')));

const TICKS = 100;

/** CPU that a process has used itself, in seconds, from /proc (man 5 proc); ticks of 10 ms. */
async function cpuOf(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS;
}

/** A real sshd with a control repository and an exchange, timestamp authorities, our signer, and today's tools. */
export class Place {
  private readonly authorities = new Map<number, Authority>();
  private requests = 0;

  private constructor(
    readonly world: World,
    readonly certificate: string,
    readonly key: string,
    readonly sshConfig: string,
  ) {}

  static async start(): Promise<Place> {
    const world = await World.start();
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

  /** A first request, refused since its file is not there: clones and connections are then as on any day. */
  private async begin(): Promise<void> {
    await this.world.request('not-there.zip\n');
    await measure(this.watch());
  }

  watch(): string[] {
    return signpipe('watch', '-c', this.world.site.signerConfig, '--once', '--json');
  }

  /** Options of `signpipe sign` for the same key as everywhere here, from PEM as osslsigncode has it. */
  signOptions(): string[] {
    return ['--certificate', this.certificate, '--key', this.key, '-q'];
  }

  /** Options of `osslsigncode sign` for the same. */
  osslsigncode(): string[] {
    return ['osslsigncode', 'sign', '-certs', this.certificate, '-key', this.key, '-h', 'sha256'];
  }

  /** The authority that answers after so many ms; started when first asked for. */
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

  /** Has our signer sign these and use this authority. */
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

  /** Puts a corpus on the exchange and commits its name, pinning the zip or each program of ours in it. */
  async request(corpus: Corpus, pinned: 'zip' | 'entries' = 'zip'): Promise<void> {
    const name = `${corpus.name}.zip`;
    await copyFile(corpus.zip, this.world.exchange('incoming', name));
    const pins = pinned === 'zip' ? [`${await sha256Of(corpus.zip)}  ${name}`] : await this.entryPins(corpus);
    // A comment makes the commit a change where the same zip is asked for again.
    await this.world.request(`# ${(this.requests += 1)}\n${pins.join('\n')}\n`);
  }

  private async entryPins({ name, zip, ours }: Corpus): Promise<string[]> {
    const script = 'unzip -p "$1" "$2" | sha256sum';
    const digests = ours.map(async (path) => {
      const { stdout } = await run('bash', ['-o', 'pipefail', '-c', script, 'pin', zip, path]);
      return `${stdout.slice(0, 64)}  ${name}.zip!/${path}`;
    });
    return Promise.all(digests);
  }

  /** Adds what the authority used. */
  private async counted(delayMs: number, work: () => Promise<Sample>): Promise<Sample> {
    const { process: server } = await this.authority(delayMs);
    const before = await cpuOf(server.pid ?? 0);
    const sample = await work();
    return { ...sample, authority: (await cpuOf(server.pid ?? 0)) - before };
  }

  /** Runs something once more over a line that counts, which costs time: for the bytes alone. */
  async bytes(work: () => Promise<unknown>): Promise<{ sent: number; received: number }> {
    const { port } = this.world.sshd;
    const line = await Line.open({ port });
    const move = async (from: number, to: number): Promise<void> => {
      await this.world.reconfigure((text) => text.replaceAll(`:${from}/`, `:${to}/`));
      await rewrite(this.sshConfig, (text) => text.replace(`Port ${from}`, `Port ${to}`));
      for (const file of [this.world.at('keys', 'known_hosts'), this.world.sshd.knownHosts])
        await rewrite(file, (text) => text.replaceAll(`]:${from} `, `]:${to} `));
    };
    await move(port, line.port);
    try {
      await work();
    } finally {
      await move(line.port, port);
      await line.close();
    }
    return { sent: line.passed.there, received: line.passed.back };
  }

  /** Our signer, in a process of its own, from its start to its end: one request answered. */
  async ours(corpus: Corpus, delayMs: number): Promise<Sample> {
    await this.configure(corpus, delayMs);
    return this.counted(delayMs, async () => {
      const folder = this.world.at('signer-state', 'work');
      const { stdout, ...sample } = await measure(this.watch(), { watchFolder: folder });
      if (!stdout.includes('"outcome":"signed"')) throw new Error(`nothing was signed:\n${stdout}`);
      return { ...sample, stages: stagesOf(stdout) };
    });
  }

  /** Today's script on the request that was committed last. */
  async today(corpus: Corpus, delayMs: number, settings: { pack: string; jobs?: number }): Promise<Sample> {
    const { url } = await this.authority(delayMs);
    const work = this.world.at('today');
    await run('mkdir', ['-p', work]);
    const env = {
      ...process.env,
      WORK: work,
      CONTROL: `ssh://far${this.world.control}`,
      SSH_CONF: this.sshConfig,
      EXCHANGE: this.world.exchange(),
      CERT: this.certificate,
      KEY: this.key,
      TSA: url,
      LIST: corpus.list,
      PACK: settings.pack,
      JOBS: String(settings.jobs ?? 1),
    };
    return this.counted(delayMs, async () => {
      const { stdout: _stdout, ...sample } = await measure([join(import.meta.dirname, 'today.sh')], { env });
      const told = (await readFile(join(work, 'stages'), 'utf8')).trim().split('\n');
      const stages = Object.fromEntries(
        told.map((line): [string, number] => [line.split(' ')[0] ?? '', Number(line.split(' ')[1])]),
      );
      return { ...sample, stages, scratch: Number(await readFile(join(work, 'scratch'), 'utf8')) };
    });
  }

  /** Has osslsigncode judge some of ours in a signed zip; its exit status alone proves nothing. */
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

/** How long lies between the lines of our signer's log. */
function stagesOf(log: string): Record<string, number> {
  const records = log
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { time: string; msg: string });
  const stages: Record<string, number> = {};
  for (const [at, { time, msg }] of records.entries()) {
    const before = records[at - 1];
    const word = /^(fetched|signed|delivered|answered)\b/.exec(msg)?.[1];
    if (before && word !== undefined)
      stages[word] = (stages[word] ?? 0) + (Date.parse(time) - Date.parse(before.time)) / 1000;
  }
  return stages;
}

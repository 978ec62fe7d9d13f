/** A site with one signer that stays alive over many polls, and the assertions that every refusal has to meet. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { pino } from 'pino';
import { loadSignerConfig } from '../../../src/app/config/signer.ts';
import { noProgress } from '../../../src/lib/progress.ts';
import { openSignerContext, type SignerContext } from '../../../src/app/signer/signer-context.ts';
import { RequestPoller, type PollResult } from '../../../src/app/signer/request-poller.ts';
import { forge, type Forged } from '../../lib/zip/zips.ts';
import { buildPe, filler } from '../../fixtures/pe.ts';
import { gitEnvironment, World, type WorldOptions } from '../../world/site.ts';

const run = promisify(execFile);

export const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

/** A sound program; another one for each seed. */
export const program = (seed = 1): Buffer =>
  buildPe({ sections: [{ name: '.text', data: filler(700, seed) }] });

/** A sound zip with one program of ours and a text. */
export const soundZip = (seed = 1, more: Forged[] = []): Buffer =>
  forge([
    { name: 'product/app.exe', content: program(seed) },
    { name: 'product/readme.txt', content: `read me ${seed}` },
    ...more,
  ]);

/** What a receipt says, as far as these tests look. */
export interface Told {
  readonly outcome: string;
  readonly reason?: { code: string; message: string; hint?: string };
  readonly request: { id: string; requestedAt: string; channel: string };
  readonly certificate?: object;
  readonly files: {
    input: { name: string };
    output?: { name: string; sha256: string };
    signed: { path: string; before: { sha256: string }; timestamp?: { url: string } }[];
    kept: { path: string; signer: string }[];
  }[];
}

export interface Answered {
  readonly told: Told;
  readonly commit: string;
  readonly message: string;
}

export interface AskOptions {
  readonly message?: string;
  /** Null for an unsigned commit; a key's path; the builder's key unless given. */
  readonly sign?: string | null;
  /** Committer time, as Git's environment has it. */
  readonly date?: string;
}

/** What a refusal has to say. */
export interface Expected {
  readonly outcome: 'rejected' | 'failed';
  readonly code: string;
  readonly says: RegExp;
  readonly hint: RegExp;
}

export interface DeskOptions extends WorldOptions {
  /** Further lines of signer.yaml. */
  readonly lines?: string;
  /** Changes signer.yaml. */
  readonly change?: (text: string, world: World) => string;
  /** Lays out what those lines speak of, before the signer starts. */
  readonly prepare?: (world: World) => Promise<void>;
  /** Reach the control repository over SSH too; over the file system unless given, which is quicker. */
  readonly gitOverSsh?: boolean;
}

/** One record of the signer's log. */
export interface Logged {
  readonly level: number;
  readonly msg: string;
  readonly code?: string;
  readonly hint?: string;
}

async function openLogged(world: World, logged: Logged[]): Promise<SignerContext> {
  const write = (line: string): void => void logged.push(JSON.parse(line) as Logged);
  const log = pino({ base: null, level: 'debug' }, { write });
  return openSignerContext(await loadSignerConfig(world.site.signerConfig), { log, progress: noProgress });
}

/** Retries without waiting: what is down in these tests stays down. */
const QUICK = 'retry: { attempts: 2, wait: 0, for: 0 }';

export class Desk {
  private honest = 0;
  private signer: RequestPoller;

  private constructor(
    readonly world: World,
    public context: SignerContext,
    readonly logged: Logged[],
  ) {
    this.signer = new RequestPoller(context);
  }

  static async open(options: DeskOptions = {}): Promise<Desk> {
    const world = await World.start(options);
    await world.reconfigure((text) => {
      const quick = text.replace(/^retry:.*$/m, QUICK);
      const near = options.gitOverSsh
        ? quick
        : quick.replace(/^ {2}url: ssh:.*$/m, `  url: file://${world.control}`);
      const changed = options.change?.(near, world) ?? near;
      return `${changed}${options.lines ?? ''}\n`;
    });
    await options.prepare?.(world);
    const logged: Logged[] = [];
    const desk = new Desk(world, await openLogged(world, logged), logged);
    return desk;
  }

  /** Another signer on the same state, as after a restart: everything is read anew. */
  async restart(): Promise<void> {
    await this.context.close();
    this.context = await openLogged(this.world, this.logged);
    this.signer = new RequestPoller(this.context);
  }

  /** Has fetching one file fail in this signer as `fail` does, until what is returned is called. */
  breakFetch(name: string, fail: () => never): () => void {
    const { exchange } = this.context;
    const fetch = exchange.fetch.bind(exchange);
    exchange.fetch = (path, ...rest) =>
      path.endsWith(name) ? Promise.resolve().then(fail) : fetch(path, ...rest);
    return () => {
      exchange.fetch = fetch;
    };
  }

  /** Sets the signer's clock, until what is returned is called. */
  setClock(now: () => Date): () => void {
    const context: { now: () => Date } = this.context;
    const before = context.now;
    context.now = now;
    return () => {
      context.now = before;
    };
  }

  async close(): Promise<void> {
    await this.context.close();
    await this.world.stop();
  }

  poll(): Promise<PollResult> {
    return this.signer.poll();
  }

  /** Puts a file into the exchange's incoming folder, as anyone with an account there can. */
  async put(name: string, bytes: Buffer): Promise<void> {
    const path = this.world.exchange('incoming', name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, bytes);
  }

  /** A commit on the request branch; its id. */
  async ask(zipname: string | Buffer, options: AskOptions = {}): Promise<string> {
    const clone = this.world.at('asking');
    const key = options.sign === undefined ? this.world.at('keys', 'builder_ed25519') : options.sign;
    const date = options.date === undefined ? {} : { GIT_COMMITTER_DATE: options.date };
    const env = { ...gitEnvironment(), ...date };
    const git = async (...args: string[]): Promise<string> =>
      (await run('git', ['-C', clone, ...args], { env })).stdout.trim();
    if (!(await stat(clone).catch(() => null))) {
      await run('git', ['clone', '--quiet', this.world.control, clone], { env });
      await git('checkout', '--quiet', '-B', 'main');
      for (const [name, value] of Object.entries({
        'user.name': 'By Hand',
        'user.email': 'hand@example.org',
        'gpg.format': 'ssh',
      }))
        await git('config', name, value);
    }
    await writeFile(join(clone, 'zipname'), zipname);
    await git('add', 'zipname');
    const signing = key === null ? ['--no-gpg-sign'] : [`-S${key}`];
    await git('commit', '--quiet', ...signing, '-m', options.message ?? 'Sign it');
    await git('push', '--quiet', 'origin', 'main');
    return git('rev-parse', 'HEAD');
  }

  /** Puts a file and asks for it, pinned. */
  async send(name: string, bytes: Buffer, options: AskOptions = {}): Promise<string> {
    await this.put(name, bytes);
    return this.ask(`${sha256(bytes)}  ${name}\n`, options);
  }

  /** A request that nothing is wrong with. */
  sendSound(): Promise<string> {
    this.honest += 1;
    return this.send(`sound-${this.honest}.zip`, soundZip(1000 + this.honest));
  }

  /** Every receipt for a request, oldest first. */
  async receiptsFor(request: string): Promise<Answered[]> {
    const { world } = this;
    const lines = (await world.git('log', '--first-parent', '--reverse', '--format=%H %P', 'signed')).split(
      '\n',
    );
    const found: Answered[] = [];
    for (const line of lines) {
      const [commit = '', , second] = line.split(' ');
      if (second !== request) continue;
      const told = JSON.parse(await world.git('show', `${commit}:receipt.json`)) as Told;
      found.push({ told, commit, message: await world.git('log', '-1', '--format=%B', commit) });
    }
    return found;
  }

  /** The one receipt for a request. */
  async receiptFor(request: string): Promise<Answered> {
    const [found, ...more] = await this.receiptsFor(request);
    assert.ok(found, `no receipt for ${request}`);
    assert.equal(more.length, 0, 'answered once');
    return found;
  }

  /** Names and digests of everything in the outgoing folder, temporary names among them. */
  async delivered(): Promise<Map<string, string>> {
    const folder = this.world.exchange('signed');
    const entries = await readdir(folder, { withFileTypes: true, recursive: true });
    const files = entries.filter((entry) => entry.isFile());
    const paths = files.map((entry) => join(entry.parentPath, entry.name));
    const pairs = paths.map(async (path): Promise<[string, string]> => [
      path.slice(folder.length + 1),
      sha256(await readFile(path)),
    ]);
    return new Map(await Promise.all(pairs));
  }

  /** The work folder holds nothing, and nothing is in hand. */
  async assertIdle(): Promise<void> {
    assert.deepEqual(await readdir(this.world.at('signer-state', 'work')), []);
    assert.ok(!(await readdir(this.world.at('signer-state'))).includes('journal.json'), 'no journal');
  }

  /** Holds a receipt to what a refusal has to say, in receipt.json, trailers and message. */
  async assertRefusal(request: string, { outcome, code, says, hint }: Expected): Promise<Answered> {
    const answered = await this.receiptFor(request);
    const { told, message } = answered;
    assert.equal(told.reason?.code, code, `${told.outcome}: ${told.reason?.message ?? ''}`);
    assert.equal(told.outcome, outcome);
    assert.match(told.reason.message, says);
    assert.match(told.reason.hint ?? '(no hint)', hint);
    assert.match(message, new RegExp(`^Request: ${request}$`, 'm'));
    assert.match(message, new RegExp(`^Outcome: ${outcome}$`, 'm'));
    assert.match(message, new RegExp(`^Reason: ${code}: `, 'm'));
    assert.match(message.split('\n')[0] ?? '', new RegExp(`^${outcome} `));
    return answered;
  }

  /** Polls once; a sound request made now is signed by that. */
  async signsNext(): Promise<void> {
    const sound = await this.sendSound();
    await this.poll();
    assert.equal((await this.receiptFor(sound)).told.outcome, 'signed');
    await this.assertIdle();
  }

  /** Polls once: the request is refused as expected, nothing of it is delivered, and the next one is signed. */
  async refuses(request: string, expected: Expected): Promise<Answered> {
    const before = await this.delivered();
    const sound = await this.sendSound();
    await this.poll();
    const answered = await this.assertRefusal(request, expected);
    assert.ok(answered.told.files.every((file) => file.output === undefined && file.signed.length === 0));
    await this.assertSigned(sound, before);
    return answered;
  }

  /** The request was signed, and its files are all that is new in the outgoing folder. */
  async assertSigned(request: string, before: ReadonlyMap<string, string>): Promise<void> {
    const { told } = await this.receiptFor(request);
    assert.equal(told.outcome, 'signed', told.reason?.message);
    const expected = new Map(before);
    for (const { output } of told.files) if (output) expected.set(output.name, output.sha256);
    assert.deepEqual(await this.delivered(), expected);
    await this.assertIdle();
  }
}

/** One request that has to be refused. */
export interface Case {
  /** The test's name, after the code. */
  readonly what: string;
  /** Makes the request; returns its id. */
  readonly make: (desk: Desk) => Promise<string>;
  readonly outcome?: Expected['outcome'];
  readonly code: string;
  readonly says: RegExp;
  readonly hint: RegExp;
}

/**
 * Makes all of these requests and a sound one behind them, has them answered in one poll, and looks at
 * each answer in a test of its own; last, that the sound one was signed, and is all that was delivered.
 */
export function refusesAll(title: string, options: DeskOptions, cases: readonly Case[]): void {
  describe(title, () => {
    let desk: Desk;
    let sound = '';
    const requests: string[] = [];
    before(async () => {
      desk = await Desk.open(options);
      for (const each of cases) requests.push(await each.make(desk));
      sound = await desk.sendSound();
      await desk.poll();
    });
    after(() => desk.close());

    for (const [index, { what, code, outcome = 'rejected', says, hint }] of cases.entries())
      it(`${code}: ${what}`, async () => {
        const answer = await desk.assertRefusal(requests[index] ?? '', { outcome, code, says, hint });
        assert.ok(answer.told.files.every((file) => file.output === undefined && file.signed.length === 0));
        assert.equal(answer.told.certificate, undefined);
      });

    it('signs the request that came after all of these; nothing else was delivered, nothing is left behind', () =>
      desk.assertSigned(sound, new Map()));
  });
}

/** A case whose file is sent as these bytes. */
export const sending =
  (name: string, bytes: Buffer): Case['make'] =>
  (desk) =>
    desk.send(name, bytes);

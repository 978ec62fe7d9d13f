/** A world with one signer in this process that polls many times, and the assertions that every refusal must meet. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { pino, type Logger } from 'pino';
import { loadSignerConfig } from '../../../src/app/config/signer.ts';
import { noProgress } from '../../../src/lib/progress.ts';
import { attachmentsOf, type Receipt } from '../../../src/protocol/control/receipt-schema.ts';
import { openSignerContext, type SignerContext } from '../../../src/app/signer/context/signer-context.ts';
import { RequestPoller, type PollResult } from '../../../src/app/signer/request/request-poller.ts';
import { forge, type Forged } from '../../lib/zip/zips.ts';
import { buildPe, filler } from '../../fixtures/pe.ts';
import { receiptCommits } from '../../world/hostile.ts';
import { World, type RequestOptions, type WorldOptions } from '../../world/site.ts';

export const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

/** A valid program, different for each seed. */
export const program = (seed = 1): Buffer =>
  buildPe({ sections: [{ name: '.text', data: filler(700, seed) }] });

/** A valid zip with one program of ours and a text. */
export const soundZip = (seed = 1, more: Forged[] = []): Buffer =>
  forge([
    { name: 'product/app.exe', content: program(seed) },
    { name: 'product/readme.txt', content: `read me ${seed}` },
    ...more,
  ]);

export interface Answered {
  readonly receipt: Receipt;
  readonly commit: string;
  readonly message: string;
}

/** What the receipt of a refusal has to say. */
export interface Expected {
  readonly outcome: 'rejected' | 'failed';
  readonly code: string;
  readonly says: RegExp;
  readonly hint: RegExp;
}

export interface TestSignerOptions extends WorldOptions {
  /** Additional lines for signer.yaml. */
  readonly lines?: string;
  /** Changes signer.yaml. */
  readonly change?: (text: string, world: World) => string;
  /** Creates what those lines refer to, before the signer starts. */
  readonly prepare?: (world: World) => Promise<void>;
  /** Use SSH for the control repository too; otherwise the file system, which is faster. */
  readonly gitOverSsh?: boolean;
}

/** One record of the signer's log. */
export interface Logged {
  readonly level: number;
  readonly msg: string;
  readonly code?: string;
  readonly hint?: string;
}

/** Opens what a signer works with, in this process; silent unless a log is given. */
export const openContext = async (
  world: World,
  log: Logger = pino({ enabled: false }),
  now = (): Date => new Date(),
): Promise<SignerContext> =>
  openSignerContext(await loadSignerConfig(world.site.signerConfig), { log, progress: noProgress, now });

/** Opens it with a log that is kept. */
export function openLogged(world: World, logged: Logged[], now?: () => Date): Promise<SignerContext> {
  const write = (line: string): void => void logged.push(JSON.parse(line) as Logged);
  return openContext(world, pino({ base: null, level: 'debug' }, { write }), now);
}

/** Retries without pauses: outages in these tests do not end. */
const QUICK = 'retry: { attempts: 2, wait: 0, for: 0 }';

export class TestSigner {
  private honest = 0;
  private poller: RequestPoller;

  private constructor(
    readonly world: World,
    public context: SignerContext,
    readonly logged: Logged[],
  ) {
    this.poller = new RequestPoller(context);
  }

  static async open(options: TestSignerOptions = {}): Promise<TestSigner> {
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
    return new TestSigner(world, await openLogged(world, logged), logged);
  }

  /** Replaces the signer by another on the same state, as a restart does. */
  async restart(now?: () => Date): Promise<void> {
    await this.context.close();
    this.context = await openLogged(this.world, this.logged, now);
    this.poller = new RequestPoller(this.context);
  }

  /** Makes fetching one file fail as `fail` does, until the returned function is called. */
  breakFetch(name: string, fail: () => never): () => void {
    const { exchange } = this.context;
    const fetch = exchange.fetch.bind(exchange);
    exchange.fetch = (path, ...rest) =>
      path.endsWith(name) ? Promise.resolve().then(fail) : fetch(path, ...rest);
    return () => {
      exchange.fetch = fetch;
    };
  }

  /** Sets the signer's clock, until the returned function is called. */
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
    return this.poller.poll();
  }

  /** Polls once, and asserts that this request is signed. */
  async signs(request: string): Promise<void> {
    await this.poll();
    assert.equal((await this.receiptFor(request)).receipt.outcome, 'signed');
  }

  /** Writes a file into the exchange's incoming folder, as anyone with an account there can. */
  async put(name: string, bytes: Buffer): Promise<void> {
    const path = this.world.exchange('incoming', name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, bytes);
  }

  /** Commits a zipname to the request branch; returns the commit's id. */
  ask(zipname: string | Buffer, options: RequestOptions = {}): Promise<string> {
    return this.world.request(zipname, options);
  }

  /** Uploads a file and requests it, pinned. */
  async send(name: string, bytes: Buffer, options: RequestOptions = {}): Promise<string> {
    await this.put(name, bytes);
    return this.ask(`${sha256(bytes)}  ${name}\n`, options);
  }

  /** A request without any fault. */
  sendSound(): Promise<string> {
    this.honest += 1;
    return this.send(`sound-${this.honest}.zip`, soundZip(1000 + this.honest));
  }

  /** Every receipt for a request, oldest first. */
  async receiptsFor(request: string): Promise<Answered[]> {
    const { world } = this;
    const receipts: Answered[] = [];
    for (const commit of await receiptCommits(world, request)) {
      const receipt = JSON.parse(await world.git('show', `${commit}:receipt.json`)) as Receipt;
      receipts.push({ receipt, commit, message: await world.git('log', '-1', '--format=%B', commit) });
    }
    return receipts;
  }

  /** The one receipt for a request. */
  async receiptFor(request: string): Promise<Answered> {
    const [answered, ...more] = await this.receiptsFor(request);
    assert.ok(answered, `no receipt for ${request}`);
    assert.equal(more.length, 0, 'answered once');
    return answered;
  }

  /** Names and digests of all files in the outgoing folder, also those with temporary names. */
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

  /** Asserts that there is no current request and the work folder is empty. */
  async assertIdle(): Promise<void> {
    assert.deepEqual(await readdir(this.world.at('signer-state', 'work')), []);
    assert.ok(!(await readdir(this.world.at('signer-state'))).includes('journal.json'), 'no journal');
  }

  /** Checks the receipt of a refusal: receipt.json, trailers and message. */
  async assertRefusal(request: string, { outcome, code, says, hint }: Expected): Promise<Answered> {
    const answered = await this.receiptFor(request);
    const { receipt, message } = answered;
    assert.equal(receipt.reason?.code, code, `${receipt.outcome}: ${receipt.reason?.message ?? ''}`);
    assert.equal(receipt.outcome, outcome);
    assert.match(receipt.reason.message, says);
    assert.match(receipt.reason.hint ?? '(no hint)', hint);
    assert.match(message, new RegExp(`^Request: ${request}$`, 'm'));
    assert.match(message, new RegExp(`^Outcome: ${outcome}$`, 'm'));
    assert.match(message, new RegExp(`^Reason: ${code}: `, 'm'));
    assert.match(message.split('\n')[0] ?? '', new RegExp(`^${outcome} `));
    return answered;
  }

  /** Asserts that a valid request made now is signed by the next poll. */
  async signsNext(): Promise<void> {
    const sound = await this.sendSound();
    await this.signs(sound);
    await this.assertIdle();
  }

  /** Polls once and asserts that the request is refused, none of its files is delivered, and the next request is signed. */
  async refuses(request: string, expected: Expected): Promise<Answered> {
    const before = await this.delivered();
    const sound = await this.sendSound();
    await this.poll();
    const answered = await this.assertRefusal(request, expected);
    assert.ok(answered.receipt.files.every((file) => file.output === undefined && file.signed.length === 0));
    await this.assertSigned(sound, before);
    return answered;
  }

  /** Asserts that the request was signed, and that only its files are new in the outgoing folder. */
  async assertSigned(request: string, before: ReadonlyMap<string, string>): Promise<void> {
    const { receipt } = await this.receiptFor(request);
    assert.equal(receipt.outcome, 'signed', receipt.reason?.message);
    const expected = new Map(before);
    for (const { output } of receipt.files) expected.set(output?.name ?? '', output?.sha256 ?? '');
    for (const { name, sha256: digest } of attachmentsOf(receipt)) expected.set(name, digest);
    assert.deepEqual(await this.delivered(), expected);
    await this.assertIdle();
  }
}

/** A signer for all tests of one file. */
export async function startSigner(options: TestSignerOptions = {}): Promise<TestSigner> {
  const signer = await TestSigner.open(options);
  after(() => signer.close());
  return signer;
}

/** One request that has to be refused. */
export interface Case {
  /** The test's name, after the code. */
  readonly what: string;
  /** Makes the request; returns its id. */
  readonly make: (signer: TestSigner) => Promise<string>;
  readonly outcome?: Expected['outcome'];
  readonly code: string;
  readonly says: RegExp;
  readonly hint: RegExp;
}

/**
 * Makes all of these requests and a valid one after them, answers them in one poll, and checks each answer in a test of
 * its own; the last test checks that only the valid one was signed and delivered.
 */
export function refusesAll(title: string, options: TestSignerOptions, cases: readonly Case[]): void {
  describe(title, () => {
    let signer: TestSigner;
    let sound = '';
    const requests: string[] = [];
    before(async () => {
      signer = await TestSigner.open(options);
      for (const each of cases) requests.push(await each.make(signer));
      sound = await signer.sendSound();
      await signer.poll();
    });
    after(() => signer.close());

    for (const [index, { what, code, outcome = 'rejected', says, hint }] of cases.entries())
      it(`${code}: ${what}`, async () => {
        const answer = await signer.assertRefusal(requests[index] ?? '', { outcome, code, says, hint });
        assert.ok(
          answer.receipt.files.every((file) => file.output === undefined && file.signed.length === 0),
        );
        assert.equal(answer.receipt.certificate, undefined);
      });

    it('signs the request that came after all of these; nothing else was delivered, no temporary file stays', () =>
      signer.assertSigned(sound, new Map()));
  });
}

/** Makes a request for a file with these bytes. */
export const sending =
  (name: string, bytes: Buffer): Case['make'] =>
  (signer) =>
    signer.send(name, bytes);

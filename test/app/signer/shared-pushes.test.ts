/** Requests that are answered in one poll: two stages work at the same time, and receipts share a push. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { SignpipeError } from '../../../src/lib/errors.ts';
import type { Receipt } from '../../../src/protocol/control/receipt-schema.ts';
import type { Exchange } from '../../../src/protocol/exchange/exchange.ts';
import { rewrapped, rawCommit } from '../../world/commit-copies.ts';
import { Hostile, receiptsFor } from '../../world/hostile.ts';
import { program, sha256, startSigner } from './test-signer.ts';

const signer = await startSigner({ ssh: false });
const { world } = signer;
const host = new Hostile(world);

interface JournalRecord {
  readonly stage: string;
  readonly request: string;
  readonly receipt: Receipt;
}

const journal = async (): Promise<readonly JournalRecord[]> => {
  const path = world.at('signer-state', 'journal.json');
  const text = existsSync(path) ? await readFile(path, 'utf8') : '{"records":[]}';
  return (JSON.parse(text) as { records: readonly JournalRecord[] }).records;
};

/** Requests in one push, for programs that differ. */
let made = 0;
async function ask(count: number): Promise<{ requests: string[]; names: string[] }> {
  const [requests, names]: [string[], string[]] = [[], []];
  for (let at = 0; at < count; at += 1) {
    const name = `tool-${(made += 1)}.exe`;
    names.push(name);
    requests.push(await signer.send(name, program(5000 + made)));
  }
  return { requests, names };
}

/** Lets a hook of the host run until the returned function is called. */
async function hook(name: string, script: string): Promise<() => Promise<void>> {
  const path = join(world.control, 'hooks', name);
  await writeFile(path, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  return () => rm(path);
}

const outputOf = ({ receipt }: Pick<JournalRecord, 'receipt'>): string | undefined =>
  receipt.files[0]?.output?.sha256;

/** Replaces a method of the exchange until `after`. */
function wrap<K extends 'fetch' | 'deliver'>(
  name: K,
  method: (original: Exchange[K]) => Exchange[K],
): () => void {
  const { exchange } = signer.context;
  const original = exchange[name].bind(exchange) as Exchange[K];
  exchange[name] = method(original);
  return () => {
    exchange[name] = original;
  };
}

/** Waits, for at most some seconds; returns whether it came. */
async function came(happened: () => boolean | Promise<boolean>): Promise<boolean> {
  const deadline = performance.now() + 10_000;
  while (performance.now() < deadline) {
    if (await happened()) return true;
    await sleep(5);
  }
  return false;
}

async function assertSignedOnce(requests: readonly string[]): Promise<void> {
  for (const request of requests) {
    const { receipt } = await signer.receiptFor(request);
    assert.equal(receipt.outcome, 'signed', JSON.stringify(receipt.reason));
    const [file] = receipt.files;
    const delivered = await readFile(world.exchange('signed', file?.output?.name ?? ''));
    assert.equal(sha256(delivered), file?.output?.sha256);
  }
  await signer.assertIdle();
}

describe('the receipts of consecutive requests', () => {
  before(async () => {
    await host.commit({ files: { zipname: 'first.exe\n' } });
    await signer.poll();
  });

  it('share a push, in the order of the requests', async () => {
    // These are refused at once, so that even on a busy machine they come within a quarter of a second.
    const requests: string[] = [];
    for (let at = 0; at < 5; at += 1)
      requests.push(await host.commit({ files: { zipname: `bare-${at}.exe\n` } }));
    const log = world.at('pushes');
    const unhook = await hook('post-receive', `cat >> '${log}'`);
    assert.deepEqual(await signer.poll(), { answered: 5, waiting: 0 });
    await unhook();
    const pushes = (await readFile(log, 'utf8')).trim().split('\n').length;
    assert.ok(pushes < requests.length, `${pushes} pushes`);
    const answered = await world.git('log', '--first-parent', '--format=%P', '-5', 'signed');
    const order = answered.split('\n').map((parents) => parents.slice(41));
    assert.deepEqual(order.reverse(), requests);
    await signer.assertIdle();
  });

  it('stay in the journal if the host refuses the push, and are the same when it accepts it', async () => {
    const { requests } = await ask(3);
    const unhook = await hook('pre-receive', 'exit 1');
    await assert.rejects(signer.poll());
    await unhook();
    const records = await journal();
    // If the machine is busy, the first push fails before the last request is begun.
    const finished = records.filter(({ stage }) => stage === 'answered').map(({ request }) => request);
    assert.ok(finished.length > 0);
    assert.deepEqual(finished, requests.slice(0, finished.length));
    for (const request of requests) assert.deepEqual(await receiptsFor(world, request), []);
    await signer.restart();
    const next = await ask(1);
    await signer.poll();
    for (const record of records.filter(({ stage }) => stage === 'answered')) {
      const { receipt } = await signer.receiptFor(record.request);
      assert.deepEqual(receipt, record.receipt);
    }
    await assertSignedOnce([...requests, ...next.requests]);
  });

  it('are found if the host accepted the push without our knowing', async () => {
    const { requests } = await ask(2);
    const { repository } = signer.context;
    const push = repository.push.bind(repository);
    repository.push = async (...options) => {
      await push(...options);
      throw new SignpipeError('unavailable', 'git-unreachable', 'the connection was lost');
    };
    await assert.rejects(signer.poll(), { code: 'git-unreachable' });
    repository.push = push;
    assert.ok((await journal()).length > 0);
    await signer.poll();
    await assertSignedOnce(requests);
  });

  it('receipts-foreign: stay in the journal if another receipt came to the branch meanwhile', async () => {
    const { requests } = await ask(2);
    const before = await world.git('rev-parse', 'signed');
    const unwrap = wrap('deliver', (deliver) => async (...options) => {
      const tree = await world.git('rev-parse', 'signed^{tree}');
      const identity = ['-c', 'user.name=x', '-c', 'user.email=x@example.org'];
      const foreign = await world.git(...identity, 'commit-tree', '-p', before, '-m', 'x', tree);
      await world.git('update-ref', 'refs/heads/signed', foreign);
      await deliver(...options);
    });
    await assert.rejects(signer.poll(), { code: 'receipts-foreign' });
    unwrap();
    assert.ok((await journal()).length > 0);
    await assert.rejects(signer.poll(), { code: 'receipts-foreign' });
    await world.git('update-ref', 'refs/heads/signed', before);
    await signer.poll();
    await assertSignedOnce(requests);
  });

  it('are not delayed by a later request that takes long', async () => {
    const { requests, names } = await ask(2);
    let pushed = false;
    const unwrap = wrap('fetch', (fetch) => async (path, ...rest) => {
      if (path.endsWith(names[1] ?? ''))
        pushed = await came(async () => (await receiptsFor(world, requests[0] ?? '')).length === 1);
      return fetch(path, ...rest);
    });
    await signer.poll();
    unwrap();
    assert.ok(pushed, 'the first receipt is there while the second request is fetched');
    await assertSignedOnce(requests);
  });
});

describe('while a request is delivered', () => {
  it('the files of the next are fetched, but not those of a third', async () => {
    const { requests, names } = await ask(3);
    const fetched = new Set<string>();
    const unwrapFetch = wrap('fetch', (fetch) => (path, ...rest) => {
      fetched.add(path);
      return fetch(path, ...rest);
    });
    const [second, third] = names.slice(1).map((name) => `incoming/${name}`);
    let seen: boolean[] = [];
    const unwrap = wrap('deliver', (deliver) => async (content, path, options) => {
      if (path.endsWith(names[0] ?? '')) {
        const isFetched = await came(() => fetched.has(second ?? ''));
        await sleep(200);
        seen = [isFetched, fetched.has(third ?? '')];
      }
      await deliver(content, path, options);
    });
    await signer.poll();
    for (const each of [unwrap, unwrapFetch]) each();
    assert.deepEqual(seen, [true, false]);
    await assertSignedOnce(requests);
  });

  it('a HOLD stops the next', async () => {
    const { requests, names } = await ask(2);
    const [first = '', second = ''] = requests;
    const unwrap = wrap('fetch', (fetch) => async (path, ...rest) => {
      if (path.endsWith(names[1] ?? '')) await host.commit({ files: { HOLD: 'stop' }, key: null });
      return fetch(path, ...rest);
    });
    assert.deepEqual(await signer.poll(), { answered: 1, waiting: 1 });
    unwrap();
    await assertSignedOnce([first]);
    assert.deepEqual(await receiptsFor(world, second), []);
    await host.commit({ files: { HOLD: null } });
    await signer.poll();
    await assertSignedOnce(requests);
  });

  it('request-repeated: the same request under another id is not signed again', async () => {
    const [request = ''] = (await ask(1)).requests;
    const copy = await host.raw(Buffer.from(rewrapped(await rawCommit(world, request)), 'latin1'), null);
    assert.notEqual(copy, request);
    await host.commit({ parents: [(await host.tip()) ?? '', copy], key: null, message: 'Merge' });
    await signer.poll();
    await assertSignedOnce([request]);
    const { receipt } = await signer.receiptFor(copy);
    assert.deepEqual([receipt.outcome, receipt.reason?.code], ['rejected', 'request-repeated']);
    assert.equal(receipt.repeats?.request, request);
  });

  it('digest-differs: a signed file that replaces an unsigned one is seen by the next request', async () => {
    signer.context.config.exchange.outgoing = 'incoming';
    const [request = ''] = (await ask(1)).requests;
    const zipname = await world.git('show', `${request}:zipname`);
    const again = await signer.ask(`# again\n${zipname}\n`);
    const unwrap = wrap('deliver', (deliver) => async (...options) => {
      await sleep(200);
      await deliver(...options);
    });
    await signer.poll();
    unwrap();
    signer.context.config.exchange.outgoing = 'signed';
    assert.equal((await signer.receiptFor(request)).receipt.outcome, 'signed');
    assert.equal((await signer.receiptFor(again)).receipt.reason?.code, 'digest-differs');
  });
});

describe('after an error of this machine', () => {
  for (const stage of ['signed', 'answered'])
    it(`between two stages, when the journal cannot say "${stage}", each request ends once`, async () => {
      const { requests } = await ask(2);
      const { journal: opened } = signer.context;
      const write = opened.write.bind(opened);
      let full = true;
      opened.write = async (record) => {
        if (full && record.stage === stage) {
          full = false;
          throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
        }
        await write(record);
      };
      const before = await signer.delivered();
      await signer.poll().catch(() => {});
      opened.write = write;
      await signer.poll();
      const outcomes: string[] = [];
      for (const request of requests) outcomes.push((await signer.receiptFor(request)).receipt.outcome);
      // Signatures that could not be kept have left nothing but a receipt that says so.
      assert.deepEqual(outcomes, [stage === 'signed' ? 'failed' : 'signed', 'signed']);
      assert.equal((await signer.delivered()).size - before.size, stage === 'signed' ? 1 : 2);
      await signer.assertIdle();
    });
});

describe('what a signer with a journal of version 2 left', () => {
  /** Turns the only record in the journal into that of version 2, and its files into those beside it. */
  async function downgrade(): Promise<JournalRecord> {
    const [record, ...more] = await journal();
    assert.ok(record && more.length === 0);
    const state = world.at('signer-state');
    await writeFile(join(state, 'journal.json'), JSON.stringify({ version: 2, ...record }));
    await rename(join(state, `journal.${record.request}.signatures`), join(state, 'journal.signatures'));
    return record;
  }

  async function finishesWhatItLeft(requests: readonly string[]): Promise<void> {
    const record = await downgrade();
    await signer.restart();
    await signer.poll();
    const [answer] = await receiptsFor(world, record.request);
    assert.ok(answer);
    assert.equal(outputOf({ receipt: answer }), outputOf(record));
    await assertSignedOnce(requests);
  }

  it('as signed is delivered: these very signatures', async () => {
    const { requests } = await ask(1);
    const unwrap = wrap('deliver', () => () => Promise.reject(new SignpipeError('alarm', 'test', 'stopped')));
    await assert.rejects(signer.poll());
    unwrap();
    await finishesWhatItLeft(requests);
  });

  it('as answered is pushed: this very receipt', async () => {
    const { requests } = await ask(1);
    const unhook = await hook('pre-receive', 'exit 1');
    await assert.rejects(signer.poll());
    await unhook();
    await finishesWhatItLeft(requests);
  });
});

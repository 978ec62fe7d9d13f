/** What happens between the moment a request is begun and the moment the key is used. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type SignerContext } from '../../../../src/app/signer/context/signer-context.ts';
import { RequestPoller, type PollResult } from '../../../../src/app/signer/request/request-poller.ts';
import { receiptFor, receiptsFor, startHostile } from '../../../world/hostile.ts';
import {
  checkBeforeKeyUse,
  UnmetPreconditionError,
} from '../../../../src/app/signer/request/before-key-use.ts';
import { removeOperatorHold, setOperatorHold } from '../../../../src/app/signer/state/operator-hold.ts';
import type { Heads } from '../../../../src/protocol/control/repository.ts';
import { readRequest } from '../../../../src/protocol/control/request.ts';
import { openLogged, type Logged } from '../test-signer.ts';

const { world, host } = await startHostile();
let ann: string;
let bob: string;
before(async () => {
  const [a, b] = [await host.key('ann'), await host.key('bob')];
  [ann, bob] = [a.path, b.path];
  await host.allow(
    await host.builderLine(),
    `ann@example.org namespaces="git" ${a.line}`,
    `bob@example.org namespaces="git" ${b.line}`,
  );
  await world.configure(`channels:\n  vouched:\n    trust: { vouches: 1 }`);
});

interface Looked extends PollResult {
  /** What was logged. */
  readonly said: string[];
}

/** One poll; `meanwhile` runs each time a file has been fetched, before anything else. */
async function pollWhile(
  meanwhile: (file: string) => Promise<void>,
  change: (context: SignerContext) => void = () => {},
): Promise<Looked> {
  const logged: Logged[] = [];
  const context = await openLogged(world, logged);
  change(context);
  const { exchange } = context;
  const fetch = exchange.fetch.bind(exchange);
  exchange.fetch = async (name, ...rest) => {
    const got = await fetch(name, ...rest);
    await meanwhile(name);
    return got;
  };
  try {
    return { ...(await new RequestPoller(context).poll()), said: logged.map(({ msg }) => msg) };
  } finally {
    await context.close();
  }
}

const once = (action: () => Promise<unknown>): (() => Promise<void>) => {
  let done = false;
  return async () => {
    if (!done) {
      done = true;
      await action();
    }
  };
};

const vouchByAnn = async (line: string): Promise<string> => {
  const root = await world.git('rev-list', '--max-parents=0', '--first-parent', 'main');
  const message = `Same\n\nVouch: yes\nControl: ${root}\n`;
  return host.commit({ branch: 'vouch/ann', files: { zipname: line }, key: ann, message });
};

const noResult = (name: string): void => assert.equal(existsSync(world.exchange('signed', name)), false);

describe('while the files of a request are fetched', () => {
  it('a HOLD stops it and all later ones, and none of its files are kept', async () => {
    const first = await host.request('one.zip');
    const second = await host.request('two.zip');
    const fetched: string[] = [];
    const stop = once(() => host.commit({ files: { HOLD: 'STOP' }, key: null }));
    const { answered, waiting, said } = await pollWhile(async (name) => {
      fetched.push(name);
      await stop();
    });
    assert.deepEqual([answered, waiting], [0, 2]);
    assert.equal(said.filter((msg) => /on hold by an unknown author .*: STOP$/.test(msg)).length, 2);
    assert.deepEqual([...(await receiptsFor(world, first)), ...(await receiptsFor(world, second))], []);
    noResult('one.zip');
    // A request that is known to be held is not fetched.
    assert.equal(fetched.length, 1);
    await pollWhile((name) => Promise.reject(new Error(`${name} was fetched again`)));
    await host.commit({ files: { HOLD: null }, key: ann });
    assert.deepEqual(await world.poll(), { answered: 2, waiting: 0 });
    assert.equal((await receiptFor(world, first)).outcome, 'signed');
  });

  it('vouch-differs: an objection rejects it', async () => {
    const line = await host.release('objected.zip');
    const request = await host.commit({ files: { zipname: line }, message: 'Sign it\n\nChannel: vouched\n' });
    await vouchByAnn(line);
    const other = `${'b'.repeat(64)}  objected.zip\n`;
    const objection = {
      branch: 'vouch/bob',
      files: { zipname: other },
      key: bob,
      message: 'Other\n\nVouch: yes\n',
    };
    await pollWhile(once(() => host.commit(objection)));
    const { outcome, reason } = await receiptFor(world, request);
    assert.deepEqual([outcome, reason?.code], ['rejected', 'vouch-differs']);
    noResult('objected.zip');
  });

  it('a vouch that is withdrawn with its branch makes it wait', async () => {
    const line = await host.release('withdrawn.zip');
    const request = await host.commit({ files: { zipname: line }, message: 'Sign it\n\nChannel: vouched\n' });
    const made = await vouchByAnn(line);
    const { said } = await pollWhile(once(() => host.set('vouch/ann', null)));
    assert.ok(said.some((msg) => msg.endsWith('waiting for 1 of 1 vouches')));
    await host.set('vouch/ann', made);
    await host.signs(request);
  });

  it('history that is rewound raises an alarm, and the key is not used', async () => {
    const before = (await host.tip()) ?? '';
    const request = await host.request('rewound.zip');
    await assert.rejects(
      pollWhile(once(() => host.set('main', before))),
      ({ code }: { code?: string }) => code === 'history-rewound',
    );
    noResult('rewound.zip');
    await host.set('main', request);
    await host.signs(request);
  });

  it('a Git host that goes down makes it wait: that is no fault of the request', async () => {
    const request = await host.request('away.zip');
    const away = `${world.control}.away`;
    await assert.rejects(pollWhile(once(() => rename(world.control, away))));
    await rename(away, world.control);
    assert.deepEqual(await receiptsFor(world, request), []);
    noResult('away.zip');
    await host.signs(request);
  });
});

describe('while the heads that were just fetched are judged', () => {
  it('a HOLD counts if that takes more than a second', async () => {
    const request = await host.request('slow-judge.zip');
    let fetched = false;
    const stop = once(async () => {
      await host.commit({ files: { HOLD: 'STOP' }, key: ann });
      await sleep(1100);
    });
    const slowly = ({ repository }: SignerContext): void => {
      const fetch = repository.fetch.bind(repository);
      repository.fetch = async (...options) => {
        const heads = await fetch(...options);
        if (fetched) await stop();
        return heads;
      };
    };
    const { answered, said } = await pollWhile(async () => void (fetched = true), slowly);
    assert.equal(answered, 0);
    assert.ok(said.some((msg) => /on hold by ann@example.org .*: STOP$/.test(msg)));
    await host.commit({ files: { HOLD: null }, key: ann });
    await host.signs(request);
  });
});

describe('while the files of a request are fetched, the allowed signers', () => {
  it('commit-signer-unknown: may lose the requester', async () => {
    const request = await host.request('struck.zip', { key: bob });
    const before1 = await readFile(world.at('keys', 'allowed_signers'), 'utf8');
    await pollWhile(once(async () => host.allow(await host.builderLine())));
    assert.equal((await receiptFor(world, request)).reason?.code, 'commit-signer-unknown');
    noResult('struck.zip');
    await writeFile(world.at('keys', 'allowed_signers'), before1);
  });
});

describe('a HOLD that was lifted', () => {
  it('stays lifted when the key that lifted it expires, and that key lifts nothing after that', async () => {
    const carol = await host.key('carol');
    const list = await readFile(world.at('keys', 'allowed_signers'), 'utf8');
    const listed = (more: string): Promise<void> =>
      writeFile(
        world.at('keys', 'allowed_signers'),
        `${list}carol@example.org namespaces="git"${more} ${carol.line}\n`,
      );
    await listed('');
    await host.commit({ files: { HOLD: 'wait' }, key: carol.path });
    await host.commit({ files: { HOLD: null }, key: carol.path });
    await host.request('lifted.zip');
    assert.equal((await world.poll()).answered, 1);
    const inHours = (hours: number) => (): Date => new Date(Date.now() + hours * 3_600_000);
    const tomorrow = inHours(24)()
      .toISOString()
      .replaceAll(/[-:T]|\.\d+/g, '');
    await listed(`,valid-before="${tomorrow}"`);
    await host.request('after-rotation.zip');
    assert.deepEqual(await world.poll(inHours(48)), { answered: 1, waiting: 0 });
    // Stolen after it expired, it lifts nothing, whatever time the commit claims.
    await host.commit({ files: { HOLD: 'stolen' }, key: ann });
    await host.commit({ files: { HOLD: null }, key: carol.path });
    await host.request('thief.zip');
    assert.deepEqual(await world.poll(inHours(49)), { answered: 0, waiting: 1 });
    await host.commit({ files: { HOLD: 'back' }, key: ann });
    await host.commit({ files: { HOLD: null }, key: ann });
    await writeFile(world.at('keys', 'allowed_signers'), list);
    await world.poll(inHours(50));
  });
});

describe('a request dated in the future', () => {
  const at = (minutes: number): string => new Date(Date.now() + minutes * 60_000).toISOString();
  const inMinutes = (minutes: number) => (): Date => new Date(Date.now() + minutes * 60_000);

  it('request-in-future: by more than ten minutes, waits until then; the log and wait say so', async () => {
    const request = await host.request('future.zip', { date: at(30) });
    assert.deepEqual(await world.poll(), { answered: 0, waiting: 1 });
    const logged = world.logged.findLast((record) => record['request'] === request);
    assert.equal(logged?.['code'], 'request-in-future');
    const waited = await world.wait(request, '--timeout', '1s');
    assert.deepEqual([waited.status, /request-in-future/.test(waited.stderr)], [4, true], waited.stderr);
    await world.poll(inMinutes(19));
    assert.deepEqual(await receiptsFor(world, request), []);
    await world.poll(inMinutes(21));
    assert.equal((await receiptFor(world, request)).outcome, 'signed');
  });

  it('waits even if it will be refused: its receipt must not be older', async () => {
    const request = await host.request('future-unsigned.zip', { date: at(30), key: null });
    assert.deepEqual(await world.poll(), { answered: 0, waiting: 1 });
    await world.poll(inMinutes(31));
    assert.equal((await receiptFor(world, request)).reason?.code, 'commit-unsigned');
  });

  it('by less, is answered, and its receipt has its time', async () => {
    const date = at(8);
    const request = await host.request('soon.zip', { date });
    await world.poll();
    const { outcome, times } = await receiptFor(world, request);
    assert.equal(outcome, 'signed');
    const committed = await world.git('log', '-1', '--format=%ct', request);
    assert.equal(Date.parse(times.answered) / 1000, Number(committed));
    assert.equal(await world.git('log', '-1', '--format=%ct', 'signed'), committed);
    assert.equal((await world.wait(request)).status, 0);
  });

  it('vouch-differs: meets an objection made since it was first seen', async () => {
    const line = await host.release('ahead.zip');
    const message = 'Sign it\n\nChannel: vouched\n';
    const request = await host.commit({ files: { zipname: line }, message, date: at(9) });
    await world.poll();
    const other = `${'b'.repeat(64)}  ahead.zip\n`;
    await host.commit({
      branch: 'vouch/bob',
      files: { zipname: other },
      key: bob,
      message: 'x\n\nVouch: yes\n',
      date: at(1),
    });
    await host.commit({
      branch: 'vouch/ann',
      files: { zipname: line },
      key: ann,
      message: 'x\n\nVouch: yes\n',
    });
    await world.poll();
    assert.equal((await receiptFor(world, request)).reason?.code, 'vouch-differs');
  });
});

describe('request-cancelled: a request that is cancelled while its files are fetched', () => {
  it('is rejected before the key is used', async () => {
    const request = await host.request('cancelled.zip');
    const { answered } = await pollWhile(
      once(() => host.commit({ message: `Cancel it\n\nCancel: ${request}\n` })),
    );
    assert.equal(answered, 1);
    assert.equal((await receiptFor(world, request)).reason?.code, 'request-cancelled');
    noResult('cancelled.zip');
  });
});

describe('if judging takes longer than heads may be old', () => {
  it('a HOLD of the operator counts, although the branches did not move', async () => {
    const id = await host.request('slow.zip');
    const context = await openLogged(world, []);
    try {
      const heads = await context.repository.fetch();
      await context.acceptedHeads.accept(heads, { at: new Date() });
      const channel = context.channels.get('default');
      assert.ok(channel);
      const request = await readRequest(context.repository, id);
      let asked = 0;
      const headsNow = async (): Promise<Heads> => {
        asked += 1;
        if (asked === 1) await sleep(1100);
        else await setOperatorHold(context.config.state, 'stop');
        return heads;
      };
      await assert.rejects(
        checkBeforeKeyUse(context, { request, channel, seen: new Date() }, headsNow),
        (error) => error instanceof UnmetPreconditionError && error.unmet.code === 'hold',
      );
      assert.equal(asked, 2);
      await removeOperatorHold(context.config.state);
    } finally {
      await context.close();
    }
    assert.deepEqual(await world.poll(), { answered: 1, waiting: 0 });
  });
});

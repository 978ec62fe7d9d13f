import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { before, beforeEach, describe, it } from 'node:test';
import type { SignpipeError } from '../../../src/lib/errors.ts';
import { startHostile, receiptFor, receiptsFor } from '../../world/hostile.ts';
import { assertRefused, gitEnvironment, signpipe, type Ended } from '../../world/site.ts';

const { world, host } = await startHostile();
/** The good heads of the branches. */
let good: { main: string; signed: string };

const tip = async (branch = 'main'): Promise<string> => (await host.tip(branch)) ?? '';

/** Makes requests and answers them; the host then tampers with their history. */
async function serve(...names: string[]): Promise<string[]> {
  const ids: string[] = [];
  for (const name of names) ids.push(await host.request(name));
  await world.poll();
  for (const id of ids) {
    const { outcome, reason } = await receiptFor(world, id);
    assert.equal(outcome, 'signed', JSON.stringify(reason));
  }
  good = { main: await tip(), signed: await tip('signed') };
  return ids;
}

/** Restores the good heads; the signer then continues. */
async function restore(): Promise<void> {
  await host.set('main', good.main);
  await host.set('signed', good.signed);
}

/** An honest builder's request on top of a tampered history: it must not be signed. */
async function honest(): Promise<string> {
  return host.request('honest.zip');
}

async function alarmOfPoll(): Promise<SignpipeError> {
  const stamps = world.authority.requests.length;
  const signed = await host.tip('signed');
  let alarm: SignpipeError | undefined;
  await world.poll().catch((error: SignpipeError) => {
    alarm = error;
  });
  assert.ok(alarm, 'no alarm was raised');
  assert.equal(alarm.kind, 'alarm');
  assert.equal(alarm.exitStatus, 3);
  assert.equal(await host.tip('signed'), signed, 'something was answered meanwhile');
  assert.equal(world.authority.requests.length, stamps, 'something was signed meanwhile');
  return alarm;
}

interface Attack {
  does: string;
  code: string;
  message: RegExp;
  make: () => Promise<void>;
}

const ATTACKS: Attack[] = [
  {
    does: 'sets main back to an earlier request',
    code: 'history-rewound',
    message: /main was set back from [0-9a-f]{12} to [0-9a-f]{12}/,
    make: async () => host.set('main', `${good.main}~1`),
  },
  {
    does: 'force-pushes another newest request',
    code: 'history-rewritten',
    message: /main was rewritten: it was at [0-9a-f]{12}/,
    make: async () => {
      await host.set('main', `${good.main}~1`);
      await honest();
    },
  },
  {
    does: 'swaps the whole history for another one',
    code: 'history-rewritten',
    message: /main was rewritten/,
    make: async () => {
      await host.set('main', null);
      await honest();
    },
  },
  {
    does: 'deletes main',
    code: 'history-rewound',
    message: /main is gone; it was at [0-9a-f]{12}/,
    make: () => host.set('main', null),
  },
  {
    does: 'sets the receipt branch back',
    code: 'receipts-rewound',
    message: /signed has lost receipts/,
    make: async () => {
      await host.set('signed', `${good.signed}~1`);
      await honest();
    },
  },
  {
    does: 'deletes the receipt branch',
    code: 'receipts-rewound',
    message: /signed has lost receipts.*now gone/,
    make: async () => {
      await host.set('signed', null);
      await honest();
    },
  },
  {
    does: 'alters the newest receipt',
    code: 'receipts-rewound',
    message: /signed has lost receipts/,
    make: async () => {
      const raw = await host.show('signed');
      await host.raw(raw.replace('\nTEST signed', '\nsigned'), 'signed');
    },
  },
  {
    does: 'adds a receipt of its own, which marks an honest request as answered',
    code: 'receipts-foreign',
    message: /none of our keys made/,
    make: async () => {
      const request = await honest();
      await host.commit({
        branch: 'signed',
        parents: [good.signed, request],
        key: null,
        message: `signed honest.zip\n\nRequest: ${request}\n`,
      });
    },
  },
  {
    does: 'adds a commit that the builder signed to the receipt branch',
    code: 'receipts-foreign',
    message: /none of our keys made/,
    make: async () => {
      await host.commit({ branch: 'signed', files: { 'policy.json': '{}' } });
      await honest();
    },
  },
];

describe('the signer stops when the Git host', () => {
  before(() => serve('one.zip', 'two.zip', 'three.zip'));
  beforeEach(restore);

  for (const attack of ATTACKS)
    it(`${attack.code}: ${attack.does}`, async () => {
      await attack.make();
      const alarm = await alarmOfPoll();
      assert.equal(alarm.code, attack.code);
      assert.match(alarm.message, attack.message);
      assert.match(alarm.hint ?? '', /^look with: git -C \S+ log --graph [0-9a-f]{12}/);
    });

  it('and does so again at every poll, until a person has dealt with it', async () => {
    await host.set('main', `${good.main}~1`);
    for (let times = 0; times < 3; times += 1) assert.equal((await alarmOfPoll()).code, 'history-rewound');
  });

  it('and continues with honest requests once history is restored', async () => {
    await restore();
    const request = await host.request('afterwards.zip');
    assert.deepEqual(await world.poll(), { answered: 1, waiting: 0 });
    assert.equal((await receiptFor(world, request)).outcome, 'signed');
  });
});

describe('the file of accepted heads', () => {
  const path = (): string => resolve(world.at('signer-state', 'witness'));

  it('witness-damaged: an altered line stops everything', async () => {
    const text = await readFile(path(), 'utf8');
    const request = await host.request('damaged.zip');
    await writeFile(path(), text.replace(/"requests":"[0-9a-f]{40}"/, `"requests":"${'0'.repeat(40)}"`));
    const ended = await world.watchOnce();
    assert.equal(ended.status, 3);
    assert.match(ended.stderr, /witness: line \d+ is not as it was written \[witness-damaged\]/);
    assert.match(ended.stderr, /compare the control repository with a copy you trust/);
    assert.deepEqual(await receiptsFor(world, request), []);
    await writeFile(path(), text);
    await host.signs(request);
  });

  it('if it is gone: the signer says that it accepts history as it is, and answers nothing twice', async () => {
    await rm(path());
    const receipt = world.logged.length;
    assert.deepEqual(await world.poll(), { answered: 0, waiting: 0 });
    assert.ok(world.logged.slice(receipt).some(({ msg }) => String(msg).startsWith('first sight of this')));
  });

  it('receipts-foreign: even at first sight the signer does not accept receipts of others', async () => {
    await rm(path());
    const signed = await tip('signed');
    await host.commit({ branch: 'signed', key: null });
    assert.equal((await alarmOfPoll()).code, 'receipts-foreign');
    await host.set('signed', signed);
    await world.poll();
  });
});

describe('requests that a rewrite removed after they were answered', () => {
  it('history-forked: are found by a signer that never saw them on main', async () => {
    await rm(world.at('signer-state', 'witness'));
    const main = await tip();
    await host.set('main', `${main}~1`);
    assert.equal((await alarmOfPoll()).code, 'history-forked');
    await host.set('main', main);
    assert.deepEqual(await world.poll(), { answered: 0, waiting: 0 });
  });
});

describe('an alarm on the command line', () => {
  let request: string;
  let hint: string;
  before(async () => {
    await serve('four.zip', 'five.zip');
    await host.set('main', `${good.main}~1`);
    request = await honest();
  });

  it('is exit status 3, and a line in the log with its code, how to inspect and how to accept', async () => {
    const ended = await world.watchOnce();
    assert.equal(ended.status, 3);
    const record = ended.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { level: number; code?: string; msg: string; hint?: string })
      .find(({ code }) => code === 'history-rewritten');
    assert.equal(record?.level, 60);
    assert.match(record.msg, /^ALARM: main was rewritten/);
    hint = record.hint ?? '';
    assert.deepEqual(await receiptsFor(world, request), []);
  });

  it('gives a command that shows both histories', () => {
    const [, command = ''] = /look with: (git [^;]*);/.exec(hint) ?? [];
    const shown = spawnSync('sh', ['-c', `${command} --format=%H`], {
      env: gitEnvironment(),
      encoding: 'utf8',
    });
    assert.equal(shown.status, 0, shown.stderr);
    assert.ok(shown.stdout.includes(good.main) && shown.stdout.includes(request));
  });

  it('cannot be accepted with a commit that is not a branch’s head', async () => {
    const wrong = await signpipeWatch('--accept-history', good.main, '--once');
    assertRefused(wrong, 3, 'history-not-as-named');
  });

  it('gives a command to accept it, after which the next request is answered', async () => {
    const [, args = ''] = /accept it with: signpipe (watch .*)$/.exec(hint) ?? [];
    assert.match(args, new RegExp(`--accept-history ${await tip()}$`));
    const ended = await signpipeWatch(...args.split(' ').slice(3), '--once');
    assert.equal(ended.status, 0, ended.stderr + ended.stdout);
    assert.equal((await receiptFor(world, request)).outcome, 'signed');
    const next = await host.request('next.zip');
    await host.signs(next);
  });
});

const signpipeWatch = (...more: string[]): Promise<Ended> =>
  signpipe(['watch', '-c', world.site.signerConfig, ...more]);

describe('a request that was answered is not answered again', () => {
  let before1: string;
  let request: string;
  before(async () => {
    [request = ''] = await serve('replay.zip');
    before1 = await tip('main').then((id) => world.git('rev-parse', `${id}~1`));
  });

  it('if the host sets main back and pushes the same signed commit again', async () => {
    await host.set('main', before1);
    await alarmOfPoll();
    await host.set('main', request);
    assert.deepEqual(await world.poll(), { answered: 0, waiting: 0 });
    assert.equal((await receiptsFor(world, request)).length, 1);
  });

  it('nor if an operator accepted the rewind in between, in the same process', async () => {
    await world.withSigner(async (signer) => {
      await signer.poll();
      await host.set('main', before1);
      await signer.acceptHistory(before1);
      await signer.poll();
      await host.set('main', request);
      assert.deepEqual(await signer.poll(), { answered: 0, waiting: 0 });
    });
    assert.equal((await receiptsFor(world, request)).length, 1);
  });

  it('nor if a merge brings it in', async () => {
    const merge = await host.commit({ parents: [request, before1], key: null, message: 'Merge' });
    assert.deepEqual(await world.poll(), { answered: 0, waiting: 0 });
    assert.equal(await tip(), merge);
  });

  it('commit-signature-wrong: nor if it is cherry-picked with its old signature', async () => {
    const raw = await host.show(request);
    const picked = await host.commit({ files: { zipname: '# in between\n' } });
    const again = await host.raw(raw.replace(/^parent .*$/m, `parent ${picked}`));
    await world.poll();
    const { outcome, reason } = await receiptFor(world, again);
    assert.deepEqual([outcome, reason?.code], ['rejected', 'commit-signature-wrong']);
    assert.match(reason?.hint ?? '', /signature belongs to another commit/);
  });

  it('and an honest request after all this is answered', async () => {
    const next = await host.request('honest-again.zip');
    await host.signs(next);
  });
});

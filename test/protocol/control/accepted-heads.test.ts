import assert from 'node:assert/strict';
import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import type { ControlRepository, MainHeads } from '../../../src/protocol/control/repository.ts';
import type { HeadsJudgement } from '../../../src/protocol/control/judge-heads.ts';
import { AcceptedHeads } from '../../../src/protocol/control/accepted-heads.ts';
import { sha256Hex } from '../../../src/lib/bytes/hash.ts';
import { notAllowed, SignpipeError } from '../../../src/lib/errors.ts';
import { git, out, TestControl } from './repositories.ts';

let world: TestControl;
let repository: ControlRepository;
let path: string;
beforeEach(async () => {
  world = await TestControl.create();
  repository = await world.repository();
  path = join(world.folder, 'witness.jsonl');
});
afterEach(() => world.close());

/** Commits a chain to main and pushes it; returns the ids. */
async function commits(...names: string[]): Promise<string[]> {
  const ids: string[] = [];
  for (const name of names) ids.push(await world.commit(`${name}\n`, { zipname: `${name}.zip\n` }));
  await world.push('-f', 'main');
  await repository.fetch();
  return ids;
}

async function accepted(requests: string | null, receipts: string | null = null): Promise<AcceptedHeads> {
  const acceptedHeads = await AcceptedHeads.open(path);
  await acceptedHeads.accept({ requests, receipts });
  return AcceptedHeads.open(path);
}

function alarms(code: string, message?: RegExp, hint?: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert(error instanceof SignpipeError);
    assert.equal(error.code, code);
    assert.equal(error.kind, 'alarm');
    assert.equal(error.exitStatus, 3);
    if (message) assert.match(error.message, message);
    if (hint) assert.match(error.hint ?? '', hint);
    return true;
  };
}

/** A branch that is not named does not exist. */
type SomeHeads = Partial<MainHeads>;
const NONE: MainHeads = { requests: null, receipts: null };

async function judges(heads: AcceptedHeads, next: SomeHeads, expected: HeadsJudgement): Promise<void> {
  assert.deepEqual(await heads.judge(repository, { ...NONE, ...next }), expected);
}

const refuses = (heads: AcceptedHeads, next: SomeHeads, ...alarm: Parameters<typeof alarms>): Promise<void> =>
  assert.rejects(heads.judge(repository, { ...NONE, ...next }), alarms(...alarm));

/** 10,000 lines of the file after one with this hash: it is shortened when the next is written. */
function manyLines(previous: string, requests: string | null): string {
  const at = '2026-01-01T00:00:00Z';
  const lines: string[] = [];
  for (let last = previous; lines.length < 10_000; last = sha256Hex(lines.at(-1) ?? ''))
    lines.push(JSON.stringify({ version: 1, at, requests, receipts: null, previous: last }));
  return `${lines.join('\n')}\n`;
}

/** A commit with any parents, for the receipt branch. */
async function receipt(parents: string[], text: string): Promise<string> {
  const tree = await out(world.work, 'rev-parse', `${parents.at(-1) ?? 'HEAD'}^{tree}`);
  const flags = parents.flatMap((parent) => ['-p', parent]);
  const id = await out(world.work, 'commit-tree', tree, ...flags, '-m', text);
  await git(world.work, ['push', '-q', '-f', 'origin', `${id}:refs/heads/signed`]);
  await repository.fetch();
  return id;
}

describe('the accepted heads', () => {
  it('are those found at the first poll, which is reported', async () => {
    const [tip = ''] = await commits('a');
    const acceptedHeads = await AcceptedHeads.open(path);
    assert.equal(acceptedHeads.heads, null);
    await judges(acceptedHeads, { requests: tip }, { first: true, changed: true });
    await assert.rejects(readFile(path), { code: 'ENOENT' });
    await acceptedHeads.accept({ requests: tip, receipts: null });
    assert.deepEqual((await AcceptedHeads.open(path)).heads, { requests: tip, receipts: null });
  });

  it('follow history that grows, and stay as they are if nothing changed', async () => {
    const [first = '', second = ''] = await commits('a', 'b');
    const acceptedHeads = await accepted(first);
    await judges(acceptedHeads, { requests: second }, { first: false, changed: true });
    await judges(acceptedHeads, { requests: first }, { first: false, changed: false });
  });

  it('are chained by hash, line by line', async () => {
    const [first = '', second = ''] = await commits('a', 'b');
    await accepted(first);
    await accepted(second);
    const [one = '', two = ''] = (await readFile(path, 'utf8')).split('\n');
    assert.equal(JSON.parse(two).previous, sha256Hex(one));
  });

  it('drop a last line that a crash cut short, and keep the one before', async () => {
    const [first = ''] = await commits('a');
    await accepted(first);
    const whole = await readFile(path, 'utf8');
    await appendFile(path, '{"version":1,"at":"2026');
    assert.deepEqual((await AcceptedHeads.open(path)).heads, { requests: first, receipts: null });
    assert.equal(await readFile(path, 'utf8'), whole);
  });

  it('keep the pinned roots and the receipts whose loss an operator accepted, also when the file is shortened', async () => {
    const [first = '', second = ''] = await commits('a', 'b');
    const acceptedHeads = await AcceptedHeads.open(path);
    assert.deepEqual([acceptedHeads.roots, acceptedHeads.lost], [null, []]);
    await acceptedHeads.accept({ requests: first, receipts: second }, { roots: [first] });
    await acceptedHeads.acceptHistory(first, { requests: first, receipts: null }, { roots: [first] });
    for (const each of [acceptedHeads, await AcceptedHeads.open(path)])
      assert.deepEqual([each.roots, each.lost], [[first], [second]]);
    const text = await readFile(path, 'utf8');
    await appendFile(path, manyLines(sha256Hex(text.trim().split('\n').at(-1) ?? ''), first));
    await (await AcceptedHeads.open(path)).accept({ requests: second, receipts: null });
    assert.equal((await readFile(path, 'utf8')).split('\n').length, 1002);
    const shorter = await AcceptedHeads.open(path);
    assert.deepEqual([shorter.roots, shorter.lost], [[first], [second]]);
  });

  it('are still read after a long file was shortened', async () => {
    const [first = ''] = await commits('a');
    await writeFile(path, manyLines('0'.repeat(64), null));
    const acceptedHeads = await accepted(first);
    assert.deepEqual(acceptedHeads.heads, { requests: first, receipts: null });
    assert.equal((await readFile(path, 'utf8')).split('\n').length, 1002);
  });
});

describe('when a request was first seen', () => {
  const at = (minute: number): Date => new Date(Date.UTC(2026, 0, 1, 0, minute));

  it('is the time of the first accepted line that has it, also for another process', async () => {
    const ids = await commits('a', 'b', 'c', 'd', 'e');
    const acceptedHeads = await AcceptedHeads.open(path);
    for (const [i, requests] of ids.entries())
      await acceptedHeads.accept({ requests, receipts: null }, { at: at(i) });
    for (let i = 5; i < 9; i++)
      await acceptedHeads.accept({ requests: ids[4] ?? '', receipts: null }, { at: at(i) });
    const again = await AcceptedHeads.open(path);
    for (const [i, id] of ids.entries()) assert.deepEqual(await again.firstSeen(repository, id), at(i));
  });

  it('is null for a commit that is not in the accepted history', async () => {
    const [first = '', second = ''] = await commits('a', 'b');
    const acceptedHeads = await accepted(first);
    assert.equal(await acceptedHeads.firstSeen(repository, second), null);
  });

  it('is the time of its return for a commit that an accepted rewrite removed and that was pushed again', async () => {
    const [first = '', second = ''] = await commits('a', 'b');
    const acceptedHeads = await AcceptedHeads.open(path);
    await acceptedHeads.accept({ requests: second, receipts: null }, { at: at(0) });
    await acceptedHeads.accept({ requests: first, receipts: null }, { at: at(1), forced: true });
    assert.equal(await acceptedHeads.firstSeen(repository, second), null);
    await acceptedHeads.accept({ requests: second, receipts: null }, { at: at(2) });
    assert.deepEqual(await acceptedHeads.firstSeen(repository, second), at(2));
    assert.deepEqual(await acceptedHeads.firstSeen(repository, first), at(0));
  });
});

describe('an alarm is raised:', () => {
  it('history-rewound: main is back at an earlier commit', async () => {
    const [first = '', second = ''] = await commits('a', 'b');
    const acceptedHeads = await accepted(second);
    await assert.rejects(
      acceptedHeads.judge(repository, { requests: first, receipts: null }, { config: 'my.yaml' }),
      alarms(
        'history-rewound',
        /main was set back/,
        new RegExp(
          `log --graph ${second.slice(0, 12)} ${first.slice(0, 12)} .*watch -c my.yaml --accept-history ${first}`,
        ),
      ),
    );
  });

  it('history-rewound: main is gone', async () => {
    const [first = ''] = await commits('a');
    const acceptedHeads = await accepted(first);
    await refuses(acceptedHeads, { requests: null }, 'history-rewound');
  });

  it('history-rewritten: an amended commit, pushed by force', async () => {
    const [, second = ''] = await commits('a', 'b');
    const acceptedHeads = await accepted(second);
    await world.git('commit', '-q', '--amend', '-m', 'b, another');
    await world.push('-f', 'main');
    const { requests } = await repository.fetch();
    await refuses(acceptedHeads, { requests }, 'history-rewritten');
    // The command in the hint works: the old history is still in the clone.
    assert.match(
      await out(repository.path, 'log', '--graph', '--oneline', second, requests ?? ''),
      /b, another/,
    );
  });

  it('history-rewritten: seen even from a new clone', async () => {
    const [, second = ''] = await commits('a', 'b');
    const acceptedHeads = await accepted(second);
    await world.git('checkout', '-q', '--orphan', 'fresh');
    const other = await world.commit('other\n', { zipname: 'c.zip\n' });
    await world.push('-f', 'fresh:main');
    const newClone = await world.repository({ clone: 'newClone' });
    await newClone.fetch();
    await assert.rejects(
      acceptedHeads.judge(newClone, { requests: other, receipts: null }),
      alarms('history-rewritten'),
    );
  });

  it('history-forked: a receipt answers a request that main does not have', async () => {
    const [first = ''] = await commits('a');
    const root = await receipt([], 'root');
    const acceptedHeads = await accepted(first, root);
    const [hidden = ''] = await commits('hidden');
    const answer = await receipt([root, hidden], 'answer');
    await world.git('reset', '-q', '--hard', first);
    await world.push('-f', 'main');
    await repository.fetch();
    await refuses(
      acceptedHeads,
      { requests: first, receipts: answer },
      'history-forked',
      new RegExp(hidden.slice(0, 12)),
    );
    await judges(acceptedHeads, { requests: hidden, receipts: answer }, { first: false, changed: true });
  });

  it('receipts-rewound: a receipt is lost, replaced, or all are gone', async () => {
    const [first = ''] = await commits('a');
    const root = await receipt([], 'root');
    const answer = await receipt([root, first], 'answer');
    const other = await receipt([root, first], 'another answer');
    const acceptedHeads = await accepted(first, answer);
    for (const receipts of [root, other, null])
      await refuses(acceptedHeads, { requests: first, receipts }, 'receipts-rewound');
  });

  it('receipts-foreign: a receipt that none of our keys signed', async () => {
    const [first = ''] = await commits('a');
    const root = await receipt([], 'root');
    const acceptedHeads = await accepted(first, root);
    const answer = await receipt([root, first], 'forged');
    const seen: string[] = [];
    const checkReceipt = (id: string): Promise<void> => {
      seen.push(id);
      return Promise.reject(notAllowed('commit-signer-unknown', 'key unknown'));
    };
    await assert.rejects(
      acceptedHeads.judge(repository, { requests: first, receipts: answer }, { checkReceipt }),
      alarms('receipts-foreign', /key unknown/),
    );
    assert.deepEqual(seen, [answer]);
  });

  it('witness-damaged: a line changed, dropped, or in another order', async () => {
    const [first = '', second = ''] = await commits('a', 'b');
    await accepted(null);
    await accepted(first);
    await accepted(second);
    const lines = (await readFile(path, 'utf8')).trimEnd().split('\n');
    const [a = '', b = '', c = ''] = lines;
    for (const damaged of [
      [a, b.replace(first, second), c],
      [a, c],
      [b, a, c],
      [a, '', b, c],
      [a, 'x', c],
      [a, b, `${c}x`],
    ]) {
      await writeFile(path, `${damaged.join('\n')}\n`);
      await assert.rejects(AcceptedHeads.open(path), alarms('witness-damaged'));
    }
  });
});

describe('an operator', () => {
  it('accepts only the history that was inspected', async () => {
    const [first = '', second = ''] = await commits('a', 'b');
    const acceptedHeads = await accepted(second);
    const heads = { requests: first, receipts: null };
    await assert.rejects(acceptedHeads.acceptHistory(second, heads), alarms('history-not-as-named'));
    await acceptedHeads.acceptHistory(first, heads);
    const again = await AcceptedHeads.open(path);
    assert.deepEqual(again.heads, heads);
    assert.equal((await again.judge(repository, heads)).changed, false);
    assert.match(await readFile(path, 'utf8'), /"forced":true/);
  });
});

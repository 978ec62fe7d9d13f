/** Which commits cancel a request, and what the Git host cannot do about it. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { rawCommit, rewrapped } from '../../world/commit-copies.ts';
import { receiptFor, receiptsFor, startHostile, type CommitOptions } from '../../world/hostile.ts';

const run = promisify(execFile);
const { world, host } = await startHostile();
const keys = new Map<string, string>();
before(async () => {
  const lines = new Map<string, string>();
  for (const name of ['second', 'voucher', 'requester', 'stranger', 'expired', 'revoked']) {
    const { path, line } = await host.key(name);
    keys.set(name, path);
    lines.set(name, line);
  }
  const allow = (name: string, who: string, options = ''): string =>
    `${who} namespaces="git"${options} ${lines.get(name) ?? ''}`;
  const builder = await host.builderLine();
  const own = [builder, allow('second', 'builder@sandbox')];
  await host.allow(
    ...own,
    allow('voucher', 'voucher@example.org'),
    allow('expired', 'builder@sandbox', ',valid-before="20250101Z"'),
    allow('revoked', 'builder@sandbox'),
  );
  // `requester` may request on this channel, but is not in the list of the channel `default`.
  const release = [...own, allow('requester', 'requester@example.org'), ''];
  await writeFile(world.at('keys', 'release_signers'), release.join('\n'));
  await writeFile(world.at('keys', 'revoked_keys'), `${lines.get('revoked') ?? ''}\n`);
  await world.reconfigure((text) => text.replace(/^trust:\n/m, 'trust:\n  revokedKeys: keys/revoked_keys\n'));
  await world.configure(`channels:
  slow:
    trust: { delay: 1h }
  release:
    trust: { delay: 1h, allowedSigners: keys/release_signers }`);
  await world.keepSigner();
});

const keyOf = (name: string): string => keys.get(name) ?? assert.fail(name);
const trailer = (request: string): string => `Cancel it\n\nCancel: ${request}\n`;

/** A request that waits for an hour. */
const ask = (name: string, channel = 'slow', options: CommitOptions = {}): Promise<string> =>
  host.request(name, { message: `Sign ${name}\n\nChannel: ${channel}\n`, ...options });

/** Pushes commits, each without a signature and with its parent's tree, in one process. */
async function flood(count: number, message: string): Promise<void> {
  const tip = (await host.tip()) ?? '';
  const each = `commit refs/heads/main\ncommitter F <f@example.org> 1700000000 +0000\ndata ${message.length}\n${message}`;
  const input = [`${each}from ${tip}\n`, ...Array.from({ length: count - 1 }, () => each)].join('\n');
  const git = run('git', ['-C', world.control, 'fast-import', '--quiet']);
  git.child.stdin?.end(`${input}\n`);
  await git;
}

/** What became of a request: the code of its refusal, its outcome, or `waits`. */
async function became(request: string): Promise<string> {
  const [receipt] = await receiptsFor(world, request);
  return receipt?.reason?.code ?? receipt?.outcome ?? 'waits';
}

const log = (): string => world.logged.map(({ msg }) => String(msg)).join('\n');

describe('request-cancelled: a request that waits is rejected', () => {
  it('once its requester has cancelled it, with who and by which commit; nothing is signed', async () => {
    const request = await ask('one.zip');
    await world.poll();
    assert.equal(await became(request), 'waits');
    const commit = await host.commit({ message: trailer(request) });
    await world.poll();
    const { outcome, reason, files } = await receiptFor(world, request);
    assert.equal(outcome, 'rejected');
    assert.equal(reason?.code, 'request-cancelled');
    assert.match(reason.message, new RegExp(`cancelled by builder@sandbox \\(commit ${commit}\\)`));
    assert.ok(files.every((file) => file.output === undefined && file.signed.length === 0));
  });

  it('by the other keys of that person, by those who may lift a HOLD, also on a channel with its own list, and under a HOLD', async () => {
    const requests = [
      [await ask('second-key.zip'), 'second'],
      [await ask('lifter.zip'), 'voucher'],
      [await ask('lifter-elsewhere.zip', 'release'), 'voucher'],
      [await ask('own-list.zip', 'release', { key: keyOf('requester') }), 'requester'],
    ] as const;
    await host.commit({ files: { HOLD: 'wait' } });
    for (const [request, key] of requests) await host.commit({ message: trailer(request), key: keyOf(key) });
    await world.poll();
    await host.commit({ files: { HOLD: null }, message: 'Lift it' });
    for (const [request] of requests) assert.equal(await became(request), 'request-cancelled');
  });

  it('also if the cancelling commit comes by a merge, or in another form of itself', async () => {
    const [merged, copied] = [await ask('merged.zip'), await ask('copied.zip')];
    const tip = (await host.tip()) ?? '';
    const aside = await host.commit({ message: trailer(merged), parents: [tip], branch: null });
    const cancel = await host.commit({ message: trailer(copied), parents: [tip], branch: null });
    await host.raw(rewrapped(await rawCommit(world, cancel)), 'main');
    await host.commit({ message: 'Merge', parents: [(await host.tip()) ?? tip, aside], key: null });
    await world.poll();
    for (const request of [merged, copied]) assert.equal(await became(request), 'request-cancelled');
  });

  it('under every id that the Git host gives it', async () => {
    const request = await ask('two-forms.zip');
    await host.commit({ message: trailer(request) });
    const other = await host.raw(rewrapped(await rawCommit(world, request)), null);
    await host.commit({ message: 'Merge', parents: [(await host.tip()) ?? '', other], key: null });
    await world.poll();
    const codes = [await became(request), await became(other)];
    assert.ok(codes.every((code) => ['request-cancelled', 'request-repeated'].includes(code)));
  });

  it('under the other id also if the signer has the two in the same poll, and the other comes first', async () => {
    const before = (await host.tip()) ?? '';
    const request = await ask('other-first.zip');
    const cancel = await host.commit({ message: trailer(request) });
    const other = await host.raw(rewrapped(await rawCommit(world, request)), null);
    await host.set('main', before);
    await host.commit({ message: 'Merge', parents: [other, cancel], key: null });
    await world.poll();
    for (const id of [request, other])
      assert.ok(['request-cancelled', 'request-repeated'].includes(await became(id)), await became(id));
  });
});

describe('a request that more commits name than are read', () => {
  it('cancels-unread: waits, since one of those before them may cancel it; a new cancellation is read first', async () => {
    const request = await host.request('flooded.zip');
    await host.commit({ message: trailer(request) });
    await flood(1001, trailer(request));
    const other = await host.request('not-flooded.zip');
    await world.poll();
    assert.deepEqual([await became(request), await became(other)], ['waits', 'signed']);
    assert.match(log(), /more than 1000 commits say that they cancel it.*signpipe cancel/);
    await host.commit({ message: trailer(request) });
    await world.poll();
    assert.equal(await became(request), 'request-cancelled');
  });
});

describe('a request is not cancelled', () => {
  const cases: readonly [string, RegExp, (request: string) => Promise<string>][] = [
    [
      'by an unknown key',
      /is signed neither by the requester/,
      (request) => host.commit({ message: trailer(request), key: keyOf('stranger') }),
    ],
    [
      'without a signature',
      /is signed neither by the requester/,
      (request) => host.commit({ message: trailer(request), key: null }),
    ],
    [
      'by a key of the channel that is not the requester’s and may not lift a HOLD',
      /is signed neither by the requester/,
      (request) => host.commit({ message: trailer(request), key: keyOf('requester') }),
    ],
    [
      'by an expired key, dated back to when it was valid',
      /is signed neither by the requester/,
      (request) =>
        host.commit({ message: trailer(request), key: keyOf('expired'), date: '2024-06-01T00:00:00Z' }),
    ],
    [
      'by a revoked key',
      /is signed neither by the requester/,
      (request) => host.commit({ message: trailer(request), key: keyOf('revoked') }),
    ],
    [
      'by a commit that changes files too',
      /changes files too/,
      (request) => host.commit({ message: trailer(request), files: { note: request } }),
    ],
    [
      'by a vouch',
      /is a vouch/,
      (request) => host.commit({ message: `Vouch\n\nVouch: yes\n\n${trailer(request)}` }),
    ],
    [
      'by a commit for another control repository',
      /is for another control repository/,
      (request) => host.commit({ message: `Cancel it\n\nControl: ${'a'.repeat(40)}\nCancel: ${request}\n` }),
    ],
    [
      'by a commit that does not descend from it, wherever it is merged',
      /does not descend from the request/,
      async (request) => {
        const before = await world.git('rev-parse', `${request}^`);
        const aside = await host.commit({ message: trailer(request), parents: [before], branch: null });
        await host.commit({ message: 'Merge', parents: [(await host.tip()) ?? '', aside], key: null });
        return aside;
      },
    ],
  ];
  const requests: string[] = [];
  const commits: string[] = [];
  before(async () => {
    for (const [index, [, , cancel]] of cases.entries()) {
      const request = await ask(`case-${index}.zip`, 'release');
      requests.push(request);
      commits.push(await cancel(request));
    }
    await world.withSigner(async (signer) => {
      await signer.poll();
      await signer.poll();
    });
  });

  for (const [index, [what, says]] of cases.entries())
    it(`${what}; the log says once why`, async () => {
      assert.equal(await became(requests[index] ?? ''), 'waits');
      const [line = '', ...more] = log()
        .split('\n')
        .filter((each) => each.startsWith(`${(commits[index] ?? '').slice(0, 12)} does not cancel`));
      assert.match(line, says);
      assert.deepEqual(more, []);
    });

  it('by a merge, by an abbreviated id, or by two trailers, which name no request', async () => {
    const request = await ask('unnamed.zip');
    const tip = (await host.tip()) ?? '';
    await host.commit({ message: trailer(request), parents: [tip, commits[0] ?? ''] });
    await host.commit({ message: trailer(request.slice(0, 20)) });
    await host.commit({ message: `Cancel\n\nCancel: ${request}\nCancel: ${request}\n` });
    await world.poll();
    assert.equal(await became(request), 'waits');
  });

  it('once it was answered: the receipt stays', async () => {
    const request = await host.request('done.zip');
    await world.poll();
    await host.commit({ message: trailer(request) });
    await world.poll();
    assert.equal(await became(request), 'signed');
  });

  it('by the cancellation of the request that it retries', async () => {
    const request = await ask('first.zip');
    const line = await world.git('show', `${request}:zipname`);
    await host.commit({ message: trailer(request) });
    const message = `Sign it\n\nRetry-Of: ${request}\n`;
    const again = await host.commit({ files: { zipname: `${line}\n# again\n` }, message });
    await world.poll();
    assert.deepEqual([await became(request), await became(again)], ['request-cancelled', 'signed']);
  });
});

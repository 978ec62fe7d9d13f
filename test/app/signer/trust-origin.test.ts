import assert from 'node:assert/strict';
import { appendFile, cp, readFile, rm, writeFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { Hostile, receiptFor } from '../../world/hostile.ts';
import { assertRefused, signpipe, World } from '../../world/site.ts';

/** Two control repositories that accept requests of the same builder. */
let nightly: World;
let release: World;
let theirs: Hostile;
let host: Hostile;
before(async () => {
  [nightly, release] = await Promise.all([World.start(), World.start()]);
  await Promise.all([nightly.withoutSsh(), release.withoutSsh()]);
  [theirs, host] = [new Hostile(nightly), new Hostile(release)];
  for (const name of ['builder_ed25519', 'builder_ed25519.pub'])
    await cp(release.at('keys', name), nightly.at('keys', name));
  await theirs.allow(await theirs.builderLine());
  await host.request('own.zip');
  await release.poll();
});
after(() => Promise.all([nightly.stop(), release.stop()]));

const outcome = async (request: string): Promise<string> => {
  const { outcome: word, reason } = await receiptFor(release, request);
  return reason?.code ?? word;
};

/** Fetches a branch of the other repository, as the host of both can, and merges it into main. */
async function merge(order: 'ours first' | 'theirs first' = 'ours first'): Promise<string> {
  await host.git(['fetch', '-q', nightly.control, '+main:refs/x/nightly']);
  const [main, other] = [
    await release.git('rev-parse', 'main'),
    await release.git('rev-parse', 'refs/x/nightly'),
  ];
  const parents = order === 'ours first' ? [main, other] : [other, main];
  return host.commit({ parents, key: null, message: 'Merge' });
}

/** A request in the other repository, its file on both exchanges. */
async function nightlyRequest(name: string, message = 'Sign it'): Promise<string> {
  const request = await theirs.request(name, { message });
  await cp(nightly.exchange('incoming', name), release.exchange('incoming', name));
  return request;
}

describe('requests of another control repository', () => {
  for (const order of ['ours first', 'theirs first'] as const)
    it(`request-foreign: are rejected when they are merged, ${order}, and our own are answered`, async () => {
      const foreign = [await nightlyRequest('one.zip'), await nightlyRequest('two.zip')];
      await merge(order);
      const own = await host.request('own.zip');
      await release.poll();
      for (const id of foreign) assert.equal(await outcome(id), 'request-foreign');
      assert.equal(await outcome(own), 'signed');
    });

  it('request-foreign: one that names another root, though it was committed here', async () => {
    const root = await nightly.git('rev-list', '--max-parents=0', 'main');
    const request = await host.request('named.zip', { message: `Sign it\n\nControl: ${root}\n` });
    await release.poll();
    assert.equal(await outcome(request), 'request-foreign');
  });

  it('request-foreign: one that names our root, and does not descend from it', async () => {
    const root = await release.git('rev-list', '--max-parents=0', await release.git('rev-parse', 'signed^2'));
    const [ours = ''] = root.split('\n').slice(-1);
    const foreign = await nightlyRequest('claims.zip', `Sign it\n\nControl: ${ours}\n`);
    await merge();
    await release.poll();
    assert.equal(await outcome(foreign), 'request-foreign');
  });

  it('are accepted after an operator accepted the history, which pins its roots', async () => {
    const head = await merge();
    const { signer, close } = await release.openSigner();
    await signer.acceptHistory(head);
    await close();
    const foreign = await nightlyRequest('accepted.zip');
    await merge();
    await release.poll();
    assert.equal(await outcome(foreign), 'signed');
  });
});

describe('vouches', () => {
  let ann: string;
  before(async () => {
    const key = await host.key('ann');
    ann = key.path;
    await host.allow(await host.builderLine(), `ann@example.org namespaces="git" ${key.line}`);
    await release.configure('channels:\n  vouched:\n    trust: { vouches: 1 }');
  });

  const roots = async (): Promise<string[]> =>
    (await release.git('rev-list', '--max-parents=0', '--first-parent', 'main')).split('\n');

  /** A request on the channel, and a vouch for it with this message, on a new branch or one that begins at `from`. */
  async function vouched(
    name: string,
    message: string,
    { from, line: other }: { from?: string; line?: string } = {},
  ): Promise<string> {
    const line = await host.release(name);
    const request = await host.commit({ files: { zipname: line }, message: 'Sign it\n\nChannel: vouched\n' });
    await host.set('vouch/ann', null);
    await host.commit({
      branch: 'vouch/ann',
      files: { zipname: other ?? line },
      key: ann,
      message,
      ...(from === undefined ? {} : { parents: [from] }),
    });
    return request;
  }

  it('that name no repository and do not descend from our roots do not count, and the log says so', async () => {
    const request = await vouched('v1.zip', 'Vouch\n\nVouch: yes\n');
    assert.deepEqual(await release.poll(), { answered: 0, waiting: 1 });
    const said = release.logged.filter((each) => each['request'] === request).map(({ msg }) => String(msg));
    assert.match(said.at(-1) ?? '', /waiting for 1 of 1 vouches; the vouch [0-9a-f]{12} by ann@example\.org/);
    assert.match(said.at(-1) ?? '', new RegExp(`Control: ${(await roots())[0]}`));
    await host.set('vouch/ann', null);
  });

  it('that name another repository do not count, even if they descend from our root', async () => {
    const other = await nightly.git('rev-list', '--max-parents=0', 'main~1');
    const elsewhere = '0'.repeat(39) + '1';
    assert.notEqual(other, elsewhere);
    await vouched('v2.zip', `Vouch\n\nControl: ${elsewhere}\n`, { from: (await host.tip()) ?? '' });
    assert.equal((await release.poll()).answered, 0);
    await host.set('vouch/ann', null);
  });

  it('that name our root count, and so do those that name none and descend from it', async () => {
    for (const [name, message, from] of [
      ['v3.zip', `Vouch\n\nVouch: yes\nControl: ${(await roots())[0]}\n`, undefined],
      ['v4.zip', 'Vouch\n\nVouch: yes\n', (await host.tip()) ?? ''],
    ] as const) {
      const request = await vouched(name, message, from === undefined ? {} : { from });
      await release.poll();
      assert.equal(await outcome(request), 'signed', name);
    }
  });

  it('vouch-differs: an objection counts even if it names no repository', async () => {
    const line = `${'d'.repeat(64)}  v5.zip\n`;
    const request = await vouched('v5.zip', 'Other bytes!\n\nVouch: yes\n', { line });
    await release.poll();
    assert.equal(await outcome(request), 'vouch-differs');
    await host.set('vouch/ann', null);
  });
});

describe('submit and vouch', () => {
  const line = async (branch: string): Promise<string | undefined> =>
    /^Control: .*$/m.exec(await release.git('log', '-1', '--format=%B', branch))?.[0];

  it('name the root that the signer pinned', async () => {
    const root = await release.git('rev-list', '--max-parents=0', '--first-parent', 'main');
    const file = release.exchange('incoming', 'own.zip');
    await cp(file, release.at('mine.zip'));
    const request = await release.submit([release.at('mine.zip')]);
    assert.equal(await line('main'), `Control: ${root}`);
    await release.poll();
    assert.equal(await outcome(request), 'signed');
    await appendFile(release.site.builderConfig, 'vouch: { name: carol }\n');
    const ended = await signpipe(['vouch', '-c', release.site.builderConfig, release.at('mine.zip')]);
    assert.equal(ended.status, 0, ended.stderr);
    assert.equal(await line('vouch/carol'), `Control: ${root}`);
  });

  it('name a pinned root even if another history became the first parent', async () => {
    const pinned = await release.git('rev-list', '--max-parents=0', '--first-parent', 'main');
    await merge('theirs first');
    await release.submit([release.at('mine.zip')]);
    assert.equal(await line('main'), `Control: ${pinned}`);
  });

  it('control-other-repository: commit nothing if the branch has none of control.roots', async () => {
    const before = await host.tip();
    const config = await readFile(release.site.builderConfig, 'utf8');
    await writeFile(
      release.site.builderConfig,
      config.replace(/^control:\n/m, `control:\n  roots: [${'a'.repeat(40)}]\n`),
    );
    for (const args of [['submit'], ['vouch']]) {
      const ended = await signpipe([...args, '-c', release.site.builderConfig, release.at('mine.zip')]);
      assertRefused(ended, 3, 'control-other-repository');
    }
    assert.equal(await host.tip(), before);
    await writeFile(release.site.builderConfig, config);
  });
});

describe('the pinned roots', () => {
  const witness = (): string => release.at('signer-state', 'witness');
  const policy = async (): Promise<{ roots?: string[] }> =>
    JSON.parse(await release.git('show', 'signed:policy.json')) as { roots?: string[] };

  it('are published with the policy', async () => {
    const roots = await release.git('rev-list', '--max-parents=0', 'main');
    assert.deepEqual(((await policy()).roots ?? []).sort(), roots.split('\n').sort());
  });

  it('are those of the last accepted head if an older version wrote the file', async () => {
    const lines = (await readFile(witness(), 'utf8')).trim().split('\n');
    const { roots: _roots, lost: _lost, ...last } = JSON.parse(lines.at(-1) ?? '') as Record<string, unknown>;
    await writeFile(witness(), `${JSON.stringify({ ...last, previous: '0'.repeat(64) })}\n`);
    // A history that was merged before the first poll of the new version is not accepted yet.
    const other = await host.commit({
      parents: [],
      branch: null,
      files: { zipname: await host.release('x.zip') },
    });
    const main = (await host.tip()) ?? '';
    await host.commit({ parents: [main, other], key: null });
    await release.poll();
    assert.equal(await outcome(other), 'request-foreign');
    assert.ok(!(await policy()).roots?.includes(other));
  });

  it('are those of control.roots, if configured', async () => {
    const main = (await host.tip()) ?? '';
    await release.reconfigure((text) => text.replace(/^control:\n/m, `control:\n  roots: [${main}]\n`));
    const before = await host.request('before.zip', { parents: [`${main}~1`], branch: null });
    await host.commit({ parents: [main, before], key: null });
    const behind = await host.request('behind.zip');
    await release.poll();
    assert.deepEqual([await outcome(before), await outcome(behind)], ['request-foreign', 'signed']);
    assert.deepEqual((await policy()).roots, [main]);
  });

  it('are pinned once the request branch exists, if it did not at the first poll', async () => {
    await rm(witness());
    await release.reconfigure((text) => text.replace(/^ {2}roots: .*\n/m, ''));
    const [main, signed] = [(await host.tip()) ?? '', (await host.tip('signed')) ?? ''];
    await host.set('main', null);
    await host.set('signed', null);
    await release.poll();
    assert.equal((await policy()).roots, undefined);
    await host.set('main', null);
    const first = await host.request('first.zip');
    await release.poll();
    assert.equal(await outcome(first), 'signed');
    assert.deepEqual((await policy()).roots, [first]);
    await host.set('main', main);
    await host.set('signed', signed);
  });
});

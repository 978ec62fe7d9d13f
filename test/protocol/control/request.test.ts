import assert from 'node:assert/strict';
import { symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import type { ControlRepository } from '../../../src/protocol/control/repository.ts';
import {
  listRequests,
  readRequest,
  requestsAmong,
  type Request,
} from '../../../src/protocol/control/request.ts';
import { git, hash, TestControl } from './repositories.ts';

let world: TestControl;
let repository: ControlRepository;
beforeEach(async () => {
  world = await TestControl.create();
  repository = await world.repository();
});
afterEach(() => world.close());

async function pushed(exclude: string[] = []): Promise<string[]> {
  await world.push('-f', 'main');
  const { requests } = await repository.fetch();
  assert(requests);
  return listRequests(repository, requests, exclude);
}

async function read(): Promise<Request> {
  const ids = await pushed();
  return readRequest(repository, ids.at(-1) ?? '');
}

describe('a request', () => {
  it('is each commit that changes zipname, in order, the first one too', async () => {
    const first = await world.commit('1\n', { zipname: 'a.zip\n' });
    await world.commit('readme\n', { README: 'x' });
    const second = await world.commit('2\n', { zipname: 'b.zip\n' });
    const third = await world.commit('3\n', { zipname: 'a.zip\n' });
    assert.deepEqual(await pushed(), [first, second, third]);
    assert.deepEqual(await pushed([first]), [second, third]);
  });

  it('is not a commit that removes zipname, or only makes it executable', async () => {
    const first = await world.commit('1\n', { zipname: 'a.zip\n' });
    await git(world.work, ['update-index', '--chmod=+x', 'zipname']);
    await world.commit('mode\n', {});
    await world.commit('gone\n', { zipname: null });
    const again = await world.commit('again\n', { zipname: 'a.zip\n' });
    assert.deepEqual(await pushed(), [first, again]);
  });

  it('is a merge only if its zipname differs from that of every side', async () => {
    const base = await world.commit('base\n', { zipname: 'base.zip\n' });
    const left = await world.commit('left\n', { zipname: 'left.zip\n' });
    await world.git('checkout', '-q', '-b', 'side', base);
    const right = await world.commit('right\n', { zipname: 'right.zip\n' });
    await world.git('checkout', '-q', 'main');
    await world.git('merge', '-q', '-s', 'ours', '-m', 'takes ours', 'side');
    assert.deepEqual(new Set(await pushed()), new Set([base, left, right]));
    await world.git('reset', '-q', '--hard', left);
    await world.git('merge', '-q', '-s', 'ours', '--no-commit', 'side');
    const evil = await world.commit('brings its own\n', { zipname: 'evil.zip\n' });
    assert.deepEqual(await pushed([left, right]), [evil]);
  });

  it('is compared with its parents, even if they are far away in the history', async () => {
    /** The `zipname` of each commit. */
    const names = new Map([['side', 'side.zip']]);
    for (let i = 0; i < 700; i += 1) names.set(`main-${i}`, `${Math.floor(i / 2)}.zip`);
    names.set('merge', 'side.zip');
    const far = {
      readCommit: (id: string) => Promise.resolve({ id }),
      entryAt: ({ id }: { id: string }) => Promise.resolve({ kind: 'file', id: names.get(id) }),
    } as unknown as ControlRepository;
    const ids = [...names.keys()];
    const steps = ids.map((id, i) => ({ id, parents: i < 2 ? [] : ids.slice(i - 1, i) }));
    steps.splice(-1, 1, { id: 'merge', parents: ['main-699', 'side'] });
    const expected = ids.filter((id) => id === 'side' || /^main-\d*[02468]$/.test(id));
    assert.deepEqual(await requestsAmong(far, steps), expected);
  });

  it('carries files, trailers, people and time', async () => {
    const id = await world.commit(
      'Sign the nightly\n\nBuilt tonight.\n\nSource-Revision: v2.81-4-gdeadbeef\nChannel: release\n',
      { zipname: `${hash('a')}  n/a.zip\n` },
      { env: { GIT_COMMITTER_DATE: '2026-01-02T03:04:05Z' } },
    );
    const request = await read();
    assert.deepEqual(request, {
      id,
      files: [{ name: 'n/a.zip', sha256: hash('a') }],
      error: null,
      subject: 'Sign the nightly',
      sourceRevision: 'v2.81-4-gdeadbeef',
      channel: 'release',
      roots: [],
      author: 'Build Master <builder@example.org>',
      committer: 'Build Master <builder@example.org>',
      committedAt: new Date('2026-01-02T03:04:05Z'),
      raw: request.raw,
    });
    assert.match(request.raw.toString(), /^tree /);
  });

  it('goes to the default channel without a trailer', async () => {
    await world.commit('Sign\n', { zipname: 'a.zip\n' });
    const request = await read();
    assert.equal(request.channel, 'default');
    assert.equal('sourceRevision' in request, false);
  });
});

/** Asserts that the last pushed commit is a request with this error. */
async function refused(code: string): Promise<void> {
  const request = await read();
  assert.equal(request.error?.code, code);
  assert.equal(request.error.kind, 'invalid');
  assert.deepEqual(request.files, []);
}

describe('a request that can never be signed is read with its error, and does not stop others', () => {
  it('zipname-name', async () => {
    await world.commit('x\n', { zipname: '../../etc/shadow\n' });
    await refused('zipname-name');
  });

  it('zipname-too-large: 70 MB of zeros', async () => {
    await world.commit('x\n', { zipname: Buffer.alloc(70_000_000) });
    await refused('zipname-too-large');
  });

  it('zipname-not-a-file: a symbolic link', async () => {
    await symlink('/etc/passwd', join(world.work, 'zipname'));
    await git(world.work, ['add', 'zipname']);
    await world.commit('x\n', {});
    await refused('zipname-not-a-file');
  });

  it('zipname-not-a-file: a folder', async () => {
    await world.commit('x\n', { 'zipname/a': 'a.zip\n' });
    await refused('zipname-not-a-file');
  });

  it('zipname-not-a-file: a submodule', async () => {
    await world.commit('x\n', {});
    await git(world.work, ['update-index', '--add', '--cacheinfo', `160000,${'1'.repeat(40)},zipname`]);
    await world.commit('y\n', {});
    await refused('zipname-not-a-file');
  });

  it('zipname-not-a-file: a file that becomes a link to the same text', async () => {
    await world.commit('x\n', { zipname: 'a.zip' });
    const blob = await world.git('rev-parse', 'HEAD:zipname');
    await git(world.work, ['update-index', '--cacheinfo', `120000,${blob},zipname`]);
    await world.commit('y\n', {});
    await refused('zipname-not-a-file');
  });

  it('request-trailer-repeated: which channel?', async () => {
    await world.commit('x\n\nChannel: a\nchannel: b\n', { zipname: 'a.zip\n' });
    await refused('request-trailer-repeated');
  });

  it('request-trailer: a channel that is not one word', async () => {
    await world.commit('x\n\nChannel: ../release\n', { zipname: 'a.zip\n' });
    await refused('request-trailer');
  });

  it('object-too-large: a commit message of 2 MB', async () => {
    await world.commit(`x\n\n${'long '.repeat(400_000)}\n`, { zipname: 'a.zip\n' });
    await world.commit('fine\n', { zipname: 'b.zip\n' });
    const [first = '', second = ''] = await pushed();
    assert.equal((await readRequest(repository, first)).error?.code, 'object-too-large');
    assert.equal((await readRequest(repository, second)).error, null);
  });

  it('object-missing is no request at all', async () => {
    await assert.rejects(readRequest(repository, hash('0').slice(0, 40)), { code: 'object-missing' });
  });
});

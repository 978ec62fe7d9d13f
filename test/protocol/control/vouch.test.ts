import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { promisify } from 'node:util';
import type { ControlRepository } from '../../../src/protocol/control/repository.ts';
import { readRequest } from '../../../src/protocol/control/request.ts';
import { createVouchCommit, vouchesFor, type Vouch } from '../../../src/protocol/control/vouch.ts';
import type { RequestedFile } from '../../../src/protocol/control/zipname.ts';
import { AllowedSigners } from '../../../src/lib/sshsig/allowed-signers.ts';
import { hash, TestControl, type TestKey } from './repositories.ts';

const run = promisify(execFile);

const A = hash('a');
const B = hash('b');
const at = new Date('2026-01-02T03:04:05Z');
const pinned: RequestedFile[] = [{ name: 'a.zip', sha256: A }];

let world: TestControl;
let repository: ControlRepository;
let alice: TestKey;
let bob: TestKey;
let carol: TestKey;
beforeEach(async () => {
  world = await TestControl.create();
  repository = await world.repository();
  [alice, bob, carol] = await Promise.all([world.key('alice'), world.key('bob'), world.key('carol')]);
});
afterEach(() => world.close());

async function request(zipname: string, key = alice): Promise<string> {
  const id = await world.commit('Sign\n', { zipname }, { key });
  await world.push();
  await repository.fetch();
  return id;
}

async function vouch(key: TestKey, branch: string, files: readonly RequestedFile[]): Promise<string> {
  const parent = (await repository.heads()).vouches.get(branch) ?? null;
  const identity = { name: branch, email: branch };
  const id = await createVouchCommit(repository, {
    parent,
    files,
    root: null,
    signer: key.signer,
    identity,
    at,
  });
  assert.equal(await repository.push(`vouch/${branch}`, id, parent), 'pushed');
  return id;
}

async function heard(id: string, keys = [alice, bob, carol]): Promise<Vouch[]> {
  const { vouches, requests } = await repository.fetch();
  return vouchesFor(repository, await readRequest(repository, id), {
    allowed: TestControl.allowed(...keys),
    branches: vouches,
    requests,
    requester: { principal: 'alice', fingerprint: alice.signer.fingerprint },
  });
}

describe('a vouch', () => {
  it('agrees if it has the same hash for every pinned line, before or after the request', async () => {
    const early = await vouch(bob, 'bob', pinned);
    const id = await request(`${A}  a.zip\n`);
    const late = await vouch(carol, 'carol', pinned);
    assert.deepEqual(await heard(id), [
      {
        name: 'bob',
        signer: 'bob',
        fingerprint: bob.signer.fingerprint,
        commit: early,
        agrees: true,
        differing: [],
      },
      {
        name: 'carol',
        signer: 'carol',
        fingerprint: carol.signer.fingerprint,
        commit: late,
        agrees: true,
        differing: [],
      },
    ]);
  });

  it('differs if it has another hash, and says for which line', async () => {
    const files = [
      {
        name: 'a.zip',
        entries: [
          { path: 'x.exe', sha256: A },
          { path: 'y.exe', sha256: B },
        ],
      },
    ];
    const id = await request(`${A}  a.zip!/x.exe\n${A}  a.zip!/y.exe\n`);
    await vouch(bob, 'bob', files);
    const [found] = await heard(id);
    assert.equal(found?.agrees, false);
    assert.deepEqual(found.differing, [{ what: 'a.zip!/y.exe', requested: A, vouched: B }]);
  });

  it('neither agrees nor differs if it has only some of the lines', async () => {
    const id = await request(`${A}  a.zip\n${B}  b.zip\n`);
    await vouch(bob, 'bob', pinned);
    const [found] = await heard(id);
    assert.deepEqual([found?.agrees, found?.differing], [false, []]);
  });

  it('counts whenever it was made: last night’s hash under the same name does no harm', async () => {
    const id = await request(`${A}  a.zip\n`);
    const agreeing = await vouch(bob, 'bob', pinned);
    await vouch(bob, 'bob', [{ name: 'a.zip', sha256: B }]);
    const found = await heard(id);
    assert.deepEqual(
      found.map(({ commit, agrees }) => [commit, agrees]),
      [[agreeing, true]],
    );
  });

  it('counts with the newest of its signer if none agrees', async () => {
    const id = await request(`${A}  a.zip\n`);
    await vouch(bob, 'bob', [{ name: 'a.zip', sha256: hash('1') }]);
    const newest = await vouch(bob, 'bob', [{ name: 'a.zip', sha256: hash('2') }]);
    assert.deepEqual(
      (await heard(id)).map(({ commit }) => commit),
      [newest],
    );
  });
});

describe('a vouch does not count', () => {
  it('of the requester, by name or by key', async () => {
    const id = await request(`${A}  a.zip\n`);
    await vouch(alice, 'mallory', pinned);
    assert.deepEqual(await heard(id), []);
    const second: TestKey = { ...bob, allowed: bob.allowed.replace(/^bob /, 'alice ') };
    await vouch(bob, 'bob', pinned);
    assert.deepEqual(await heard(id, [alice, second]), []);
  });

  it('of the requester under a name that only another key’s line connects', async () => {
    const id = await request(`${A}  a.zip\n`);
    await vouch(bob, 'bob', pinned);
    const joined: TestKey = {
      ...carol,
      allowed: carol.allowed.replace(/^carol /, 'alice,bob valid-before="20010101" '),
    };
    assert.deepEqual(await heard(id, [alice, bob, joined]), []);
    assert.equal((await heard(id, [alice, bob])).length, 1);
  });

  it('twice, of one person with two keys whose lines name them differently', async () => {
    const id = await request(`${A}  a.zip\n`);
    await vouch(bob, 'bob', pinned);
    await vouch(carol, 'carol', pinned);
    const both: TestKey = { ...bob, allowed: bob.allowed.replace(/^bob /, 'bob,carol ') };
    assert.equal((await heard(id, [alice, both, carol])).length, 1);
    assert.equal((await heard(id, [alice, bob, carol])).length, 2);
  });

  it('twice, of one person with two certificates', async () => {
    const id = await request(`${A}  a.zip\n`);
    for (const [key, names] of [
      [bob, 'robert,bob@work'],
      [carol, 'bob@work,bob@home'],
    ] as const) {
      await run('ssh-keygen', ['-q', '-s', alice.path, '-I', 'id', '-n', names, `${key.path}.pub`]);
      await world.git('checkout', '-q', '--orphan', `v-${names.length}`);
      const certified = { ...key, path: `${key.path}-cert.pub` };
      await world.commit('Vouch\n\nVouch: yes\n', { zipname: `${A}  a.zip\n` }, { key: certified });
      await world.push(`HEAD:vouch/${names.length}`);
    }
    const { vouches, requests } = await repository.fetch();
    const count = async (lines: string): Promise<number> =>
      (
        await vouchesFor(repository, await readRequest(repository, id), {
          allowed: AllowedSigners.parse(lines, 'allowed_signers'),
          branches: vouches,
          requests,
          requester: null,
        })
      ).length;
    const authority = alice.allowed.replace(/^alice /, '');
    // The names that the pattern picks differ; the certificates say that they are one person's.
    assert.equal(await count(`robert,bob@home cert-authority ${authority}\n`), 1);
    assert.equal(await count(`robert cert-authority ${authority}\n`), 1);
  });

  it('twice, on two branches', async () => {
    const id = await request(`${A}  a.zip\n`);
    await vouch(bob, 'bob', pinned);
    await vouch(bob, 'robert', pinned);
    assert.equal((await heard(id)).length, 1);
  });

  it('of a stranger who is not an allowed signer', async () => {
    const id = await request(`${A}  a.zip\n`);
    await vouch(carol, 'bob', pinned);
    assert.deepEqual(await heard(id, [alice, bob]), []);
  });

  it('unsigned, malformed, or about other files; and it does not hide one that counts', async () => {
    const id = await request(`${A}  a.zip\n`);
    const good = await vouch(bob, 'bob', pinned);
    await world.git('checkout', '-q', '--orphan', 'v');
    await world.commit('unsigned\n', { zipname: `${A}  a.zip\n` });
    await world.commit('malformed\n', { zipname: `../\n` }, { key: carol });
    await world.commit('other\n', { zipname: `${A}  b.zip\n` }, { key: carol });
    await world.push('v:vouch/carol');
    assert.deepEqual(
      (await heard(id)).map(({ commit }) => commit),
      [good],
    );
  });

  it('if it is another builder’s request that the host’s owner put on a branch of vouches', async () => {
    await request(`${A}  a.zip\n`, bob);
    await world.push('main:vouch/bob');
    await world.commit('again\n', { zipname: 'other.zip\n' });
    const id = await request(`${A}  a.zip\n`);
    assert.deepEqual(await heard(id), []);
  });

  it('for a request that pins nothing', async () => {
    const id = await request('a.zip\n');
    await vouch(bob, 'bob', pinned);
    assert.deepEqual(await heard(id), []);
  });
});

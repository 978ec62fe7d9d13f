import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFile, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { attachSignature } from '../../../src/lib/git/signed-commit.ts';
import { objectId } from '../../../src/lib/git/objects.ts';
import { buildHeartbeat, HEALTH_REFS, parseHeartbeat } from '../../../src/protocol/control/heartbeat.ts';
import {
  fetchHeartbeats,
  readHeartbeats,
  type Heartbeats,
} from '../../../src/protocol/control/read-heartbeats.ts';
import type { ControlRepository } from '../../../src/protocol/control/repository.ts';
import { HEARTBEAT_LIMIT, type Heartbeat } from '../../../src/protocol/control/signer-health.ts';
import { signerName } from '../../../src/protocol/control/signer-name.ts';
import { git, TestControl, type TestKey } from './repositories.ts';

const NOW = new Date('2026-11-30T08:00:00Z');
const minutes = (count: number): Date => new Date(NOW.getTime() + count * 60_000);

let world: TestControl;
let clone: ControlRepository;
let key: TestKey;
let stranger: TestKey;

before(async () => {
  world = await TestControl.create();
  clone = await world.repository();
  key = await world.key('signer');
  stranger = await world.key('stranger');
});
after(() => world.close());

const nameOf = ({ signer }: TestKey): string => signerName(signer.fingerprint);

const contentOf = (by: TestKey, change: Partial<Heartbeat> = {}): Heartbeat => ({
  version: 1,
  signer: nameOf(by),
  name: 'Example signer',
  signpipe: '0.1.0',
  written: NOW.toISOString(),
  every: 300,
  started: minutes(-60).toISOString(),
  ended: false,
  heads: { requests: 'a'.repeat(40), receipts: null },
  waiting: [],
  queue: 0,
  channels: [],
  ...change,
});

/** Pushes a commit to a ref of the host, whatever is there, as the owner of the host could. */
async function place(name: string, id: string, objects: Parameters<ControlRepository['writeObjects']>[0]) {
  const writer = await world.repository({ clone: 'writer' });
  await writer.writeObjects(objects);
  await git(writer.path, ['push', '-q', '-f', world.remote, `${id}:${HEALTH_REFS}${name}`]);
}

async function beat(by: TestKey, change: Partial<Heartbeat> = {}, name = nameOf(by)): Promise<void> {
  const content = contentOf(by, change);
  const { id, objects } = await buildHeartbeat(content, {
    signer: by.signer,
    identity: { name: 'Example signer', email: '' },
  });
  await place(name, id, objects);
}

/** A commit that `key` signed although it is no heartbeat. */
async function forged(message: string, extra = ''): Promise<{ id: string; content: Buffer }> {
  const tree = objectId('tree', Buffer.alloc(0));
  const who = 'Signer <> 1796025600 +0000';
  const unsigned = Buffer.from(`tree ${tree}\n${extra}author ${who}\ncommitter ${who}\n\n${message}`);
  const content = attachSignature(unsigned, await key.signer.sign('git', unsigned));
  return { id: objectId('commit', content), content };
}

async function fetchAndRead(now = NOW): Promise<Heartbeats> {
  await fetchHeartbeats(clone);
  return readHeartbeats(clone, TestControl.allowed(key), now);
}

/** The state of a heartbeat, at a moment. */
async function stateOf(change: Partial<Heartbeat>, now: Date): Promise<string> {
  const { objects } = await buildHeartbeat(contentOf(key, change), {
    signer: key.signer,
    identity: { name: 'Example signer', email: '' },
  });
  const raw = objects.at(-1)?.content ?? Buffer.alloc(0);
  return parseHeartbeat(raw, { name: nameOf(key), allowed: TestControl.allowed(key), now }).state;
}

describe('a heartbeat', () => {
  it('tells every reader with the key what the signer reports', async () => {
    const change = { queue: 3, alarm: { code: 'history-rewound', since: NOW.toISOString() } };
    await beat(key, change);
    const { signers, problems } = await fetchAndRead();
    assert.deepEqual(problems, []);
    assert.deepEqual(signers, [
      { content: contentOf(key, change), key: key.signer.fingerprint, principal: 'signer', state: 'alive' },
    ]);
  });

  it('replaces the one before, whose history it does not continue', async () => {
    await beat(key, { queue: 1 });
    await beat(key, { queue: 2 });
    assert.deepEqual(
      (await fetchAndRead()).signers.map(({ content }) => content.queue),
      [2],
    );
  });

  it('is alive until the next one is more than two minutes late, then silent', async () => {
    assert.equal(await stateOf({}, minutes(7)), 'alive');
    assert.equal(await stateOf({}, minutes(7.1)), 'silent');
  });

  it('is silent if the host shows an old one again', async () => {
    assert.equal(await stateOf({ written: minutes(-30).toISOString() }, NOW), 'silent');
  });

  it('that the host withholds is seen to be old', async () => {
    await beat(key);
    await fetchHeartbeats(clone);
    await git(world.remote, ['update-ref', '-d', `${HEALTH_REFS}${nameOf(key)}`]);
    assert.equal((await fetchAndRead(minutes(20))).signers[0]?.state, 'silent');
  });

  it('says that the signer was stopped in order', async () => {
    assert.equal(await stateOf({ ended: true }, minutes(600)), 'stopped');
  });

  it('proves nothing if it is dated more than ten minutes ahead', async () => {
    assert.equal(await stateOf({ written: minutes(10.1).toISOString(), ended: true }, NOW), 'ahead');
  });

  it('stays below 64 KiB: authorities and waiting requests are left out first', async () => {
    const waiting = Array.from({ length: 100 }, () => ({
      request: 'b'.repeat(40),
      code: 'x'.repeat(100),
      since: NOW.toISOString(),
    }));
    const authorities = Array.from({ length: 300 }, (_, each) => ({
      url: `http://${'a'.repeat(200)}${each}/`,
      circuit: 'closed' as const,
      succeeded: 0,
      failed: 0,
      lastSuccess: null,
      lastFailure: null,
      medianMs: null,
    }));
    const channel = { name: 'default', certificate: { subject: 'CN=Example' }, authorities };
    await beat(key, { waiting, channels: [channel] });
    const [signer] = (await fetchAndRead()).signers;
    assert.ok(Buffer.byteLength(JSON.stringify(signer?.content)) < HEARTBEAT_LIMIT);
    assert.deepEqual(signer?.content.channels[0]?.certificate, { subject: 'CN=Example' });
    assert.equal(signer.content.waiting.length, 20);
  });
});

describe('a fetch of heartbeats', () => {
  it('leaves the packs of the clone few, although every heartbeat comes in a pack of its own', async () => {
    const reader = await world.repository({ clone: 'reader' });
    const folder = join(reader.path, 'objects', 'pack');
    const packs = async (): Promise<number> =>
      (await readdir(folder)).filter((name) => name.endsWith('.pack')).length;
    await reader.writeObjects([{ type: 'blob', content: Buffer.from('a file\n') }]);
    for (const name of await readdir(folder))
      for (let copy = 0; copy < 50; copy += 1) {
        const id = copy.toString(16).padStart(40, '0');
        await copyFile(join(folder, name), join(folder, name.replace(/[0-9a-f]{40}/, id)));
      }
    await beat(key, { queue: 4 });
    await fetchHeartbeats(reader);
    assert.ok((await packs()) < 10, `${await packs()} packs`);
  });

  it('that fails is listed as a problem, keeps what was fetched before, and is over after the next one', async () => {
    await beat(key, { queue: 5 });
    await fetchAndRead();
    const args = ['-C', world.remote, 'hash-object', '-w', '-t', 'commit', '--literally', '--stdin'];
    const broken = execFileSync('git', args, { input: 'no commit\n', encoding: 'utf8' });
    await writeFile(join(world.remote, HEALTH_REFS, nameOf(key)), broken);
    const { signers, problems } = await fetchAndRead();
    assert.deepEqual(
      [signers.map(({ content }) => content.queue), problems.map(({ name }) => name)],
      [[5], [null]],
    );
    await rm(join(world.remote, HEALTH_REFS, nameOf(key)));
    await beat(key, { queue: 7 });
    assert.deepEqual((await fetchAndRead()).problems, []);
  });
});

describe('a ref of heartbeats that is none', () => {
  async function problem(): Promise<string> {
    const { signers, problems } = await fetchAndRead();
    assert.deepEqual(signers, []);
    await git(world.remote, ['update-ref', '-d', `${HEALTH_REFS}${nameOf(key)}`]);
    return problems
      .filter(({ name }) => name === nameOf(key))
      .map(({ code }) => code)
      .join();
  }

  const parse = (raw: Buffer): unknown =>
    parseHeartbeat(raw, { name: nameOf(key), allowed: TestControl.allowed(key), now: NOW });

  const json = (change: object = {}): string => JSON.stringify({ ...contentOf(key), ...change });
  const TITLE = 'signpipe health\n\n';

  it('commit-signer-unknown: signed by a key that is not trusted', async () => {
    await beat(stranger, { signer: nameOf(key) }, nameOf(key));
    assert.equal(await problem(), 'commit-signer-unknown');
  });

  it('commit-signature-wrong: changed after it was signed', async () => {
    const { content } = await forged(`${TITLE}${json()}\n`);
    const changed = Buffer.from(content.toString().replace('"queue":0', '"queue":7'));
    assert.throws(() => parse(changed), { code: 'commit-signature-wrong' });
  });

  it('heartbeat-misplaced: the heartbeat of another signer, or copied to another ref', async () => {
    await beat(key, { signer: nameOf(stranger) });
    assert.equal(await problem(), 'heartbeat-misplaced');
    await beat(key, {}, nameOf(stranger));
    const { signers, problems } = await fetchAndRead();
    assert.deepEqual(signers, []);
    assert.ok(problems.some(({ name, code }) => name === nameOf(stranger) && code === 'heartbeat-misplaced'));
    for (const folder of [world.remote, clone.path])
      await git(folder, ['update-ref', '-d', `${HEALTH_REFS}${nameOf(stranger)}`]);
  });

  const cases: [string, string][] = [
    ['another message', 'Heartbeat\n\n{}\n'],
    ['no JSON', `${TITLE}{"version":1\n`],
    ['another version', `${TITLE}{"version":2}\n`],
    ['a key twice', `${TITLE}{"queue":1,"queue":2}\n`],
    ['deep nesting', `${TITLE}${'['.repeat(5000)}\n`],
    ['more than 64 KiB', `${TITLE}${' '.repeat(HEARTBEAT_LIMIT)}{}\n`],
  ];
  for (const [what, message] of cases)
    it(`heartbeat-malformed: ${what}`, async () => {
      const { content } = await forged(message);
      assert.throws(() => parse(content), { code: 'heartbeat-malformed' });
    });

  it('heartbeat-malformed: with a parent, so that all history would have to be fetched', async () => {
    const child = await forged(`${TITLE}${json()}\n`, `parent ${'a'.repeat(40)}\n`);
    assert.throws(() => parse(child.content), { code: 'heartbeat-malformed' });
  });

  it('object-type: a file', async () => {
    const content = Buffer.from('a file\n');
    await place(nameOf(key), objectId('blob', content), [{ type: 'blob', content }]);
    assert.equal(await problem(), 'object-type');
  });

  it('is not even fetched beyond the 64th, or under another name', async () => {
    await beat(key);
    const id = (await git(world.remote, ['rev-parse', `${HEALTH_REFS}${nameOf(key)}`])).stdout.trim();
    for (const name of Array.from({ length: 70 }, (_, each) => each.toString(16).padStart(16, '0')))
      await writeFile(join(world.remote, HEALTH_REFS, name), `${id}\n`);
    await writeFile(join(world.remote, HEALTH_REFS, 'other'), `${id}\n`);
    const fresh = await world.repository({ clone: 'fresh' });
    await fetchHeartbeats(fresh);
    const refs = await fresh.refsBelow(HEALTH_REFS, 1000);
    assert.equal(refs.size, 64);
    assert.ok([...refs.keys()].every((name) => /^[0-9a-f]{16}$/.test(name)));
  });
});

/** Timestamp authorities that are down: requests wait, up to `retry.for`, and HOLD still counts. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { after, before, beforeEach, describe, it } from 'node:test';
import {
  startTimestampAuthority,
  type RunningAuthority,
} from '../../../../src/sandbox/timestamp-authority.ts';
import { Hostile, receiptFor } from '../../../world/hostile.ts';
import { signpipe, World } from '../../../world/site.ts';

const HOUR = 3_600_000;

let world: World;
let host: Hostile;
/** Whether the channel's authority answers. */
let authority: RunningAuthority;
let up = false;
/** How many requests it answers before it goes down again. */
let good = 0;
/** How far the signer's clock is ahead of the true time, in ms: how long a test has "waited". */
let later = 0;
const clock = (): Date => new Date(Date.now() + later);

before(async () => {
  world = await World.start({ ssh: false });
  host = new Hostile(world);
  authority = await startTimestampAuthority({
    identity: world.site.pki.timestamping,
    misbehave: () => (up || good-- > 0 ? undefined : 'http-500'),
  });
  await world.reconfigure((text) =>
    text
      .replaceAll(world.authority.url, authority.url)
      .replace(/^retry:.*$/m, 'retry: { attempts: 2, wait: 0, for: 1h }'),
  );
});
after(async () => {
  await authority.close();
  await world.stop();
});
beforeEach(() => {
  up = false;
  good = 0;
  later = 0;
});

const asked = async (name: string): Promise<string> =>
  host.commit({ files: { zipname: await host.release(name) }, message: 'Sign it\n' });

interface Answer {
  readonly outcome: string;
  readonly reason?: { code: string; message: string; hint?: string };
}

const answerTo = async (id: string): Promise<Answer | null> =>
  (await receiptFor(world, id).catch(() => null)) as Answer | null;

const said = (request: string, from = 0): string[] =>
  world.logged
    .slice(from)
    .filter((record) => record['request'] === request)
    .map(({ msg }) => String(msg));

const published = async (): Promise<unknown> => {
  const policy = JSON.parse(await world.git('show', 'signed:policy.json')) as {
    channels: { default: { waiting?: unknown } };
  };
  return policy.channels.default.waiting;
};

describe('a request whose authorities are down', () => {
  it('waits, says since when, and is signed once one answers again', async () => {
    const id = await asked('a.zip');
    await world.withSigner(async (signer) => {
      assert.deepEqual(await signer.poll(), { answered: 0, waiting: 1 });
      assert.equal(await answerTo(id), null);
      assert.match(said(id).join('\n'), /no timestamp authority has answered since \d{4}-.*until \d{4}-/);
      up = true;
      assert.deepEqual(await signer.poll(), { answered: 1, waiting: 0 });
    }, clock);
    assert.equal((await answerTo(id))?.outcome, 'signed');
    assert.equal(await published(), undefined);
  });

  it('is not fetched and signed again for every attempt', async () => {
    const id = await asked('b.zip');
    await world.withSigner(async (signer) => {
      await signer.poll();
      const before = authority.requests.length;
      const from = world.logged.length;
      for (let n = 0; n < 3; n += 1) await signer.poll();
      assert.equal(authority.requests.length - before, 3, 'one request for each trial');
      assert.deepEqual(said(id, from), []);
      up = true;
      await signer.poll();
    }, clock);
    assert.equal((await answerTo(id))?.outcome, 'signed');
  });

  it('timestamp-unavailable: fails after retry.for, counted from the first attempt through restarts', async () => {
    const id = await asked('c.zip');
    await world.poll(clock);
    later = HOUR - 60_000;
    await world.poll(clock);
    assert.equal(await answerTo(id), null);
    later = HOUR + 60_000;
    await world.poll(clock);
    const answer = await answerTo(id);
    assert.equal(answer?.outcome, 'failed');
    assert.equal(answer?.reason?.code, 'timestamp-unavailable');
    assert.match(answer?.reason?.hint ?? '', /^ask the signer's operator/);
  });

  it('is signed if an authority answers just after retry.for', async () => {
    const id = await asked('d.zip');
    await world.poll(clock);
    later = 2 * HOUR;
    up = true;
    await world.poll(clock);
    assert.equal((await answerTo(id))?.outcome, 'signed');
  });

  it('is stopped by a HOLD that comes while it waits, even if an authority answers again', async () => {
    const id = await asked('e.zip');
    await world.withSigner(async (signer) => {
      await signer.poll();
      await host.commit({ files: { HOLD: 'look at it first\n' }, message: 'Stop\n' });
      const from = world.logged.length;
      up = true;
      assert.deepEqual(await signer.poll(), { answered: 0, waiting: 1 });
      assert.equal(await answerTo(id), null);
      assert.match(said(id, from).join('\n'), /on hold by/);
      await host.commit({ files: { HOLD: null }, message: 'Go on\n' });
      await signer.poll();
    }, clock);
    assert.equal((await answerTo(id))?.outcome, 'signed');
  });

  it('does not keep requests of other channels waiting', async () => {
    await world.configure(`channels: { plain: { signing: { timestamp: [] } } }`);
    const id = await asked('f.zip');
    const line = await host.release('g.zip');
    const plain = await host.commit({ files: { zipname: line }, message: 'Sign it\n\nChannel: plain\n' });
    await world.poll(clock);
    assert.equal((await answerTo(plain))?.outcome, 'signed');
    assert.equal(await answerTo(id), null);
    up = true;
    await world.poll(clock);
    assert.equal((await answerTo(id))?.outcome, 'signed');
  });

  it('is shown to the waiting builder while it lasts', async () => {
    const id = await asked('h.zip');
    await world.withSigner(async (signer) => {
      await signer.poll();
      await signer.poll();
      assert.match(JSON.stringify(await published()), /^\{"for":"timestamp","since":"\d{4}-/);
      const policies = await world.git('rev-list', '--count', 'signed');
      await signer.poll();
      assert.equal(await world.git('rev-list', '--count', 'signed'), policies, 'published once');
      const ended = await world.wait(id, '--timeout', '1s');
      assert.equal(ended.status, 4, ended.stderr);
      assert.match(
        ended.stderr,
        /none of the signer's timestamp authorities has answered since \d{4}-.*; it keeps asking/,
      );
      up = true;
      await signer.poll();
    }, clock);
    assert.equal((await world.wait(id)).status, 0);
    assert.equal(await published(), undefined);
    const audited = await signpipe([
      ...['audit', '--repo', world.control, '--allowed-signers', world.at('keys', 'audit_signers')],
      '--json',
    ]);
    assert.ok(audited.status === 0 || audited.status === 3, audited.stderr);
  });

  it('does not begin a new outage, nor a new policy, whenever an authority answers once and no more', async () => {
    const id = await asked('flap.zip');
    await world.withSigner(async (signer) => {
      await signer.poll();
      await signer.poll();
      const [since, policies] = [await published(), await world.git('rev-list', '--count', 'signed')];
      for (let n = 0; n < 3; n += 1) {
        good = 1;
        assert.deepEqual(await signer.poll(), { answered: 0, waiting: 1 });
      }
      assert.ok(good < 0, 'the request was begun again');
      await signer.poll();
      assert.deepEqual(await published(), since);
      assert.equal(await world.git('rev-list', '--count', 'signed'), policies);
      up = true;
      assert.deepEqual(await signer.poll(), { answered: 1, waiting: 0 });
    }, clock);
    assert.equal((await answerTo(id))?.outcome, 'signed');
    assert.equal(await published(), undefined);
  });

  it('is not failed by a clock that jumps ahead while the signer runs, nor kept for ever by one that jumps back', async () => {
    const id = await asked('clock.zip');
    await world.withSigner(async (signer) => {
      for (later of [0, 30 * 24 * HOUR, 0, -HOUR, HOUR / 2])
        assert.deepEqual(await signer.poll(), { answered: 0, waiting: 1 });
    }, clock);
    later = 2 * HOUR;
    await world.poll(clock);
    assert.equal((await answerTo(id))?.outcome, 'failed', 'since a restart, the clock alone is known');
  });

  it('restarts its time limit only if waiting.json is gone or damaged', async () => {
    const id = await asked('i.zip');
    await world.poll(clock);
    const file = world.at('signer-state', 'waiting.json');
    assert.match(await readFile(file, 'utf8'), new RegExp(id));
    await writeFile(file, '{"version":1,"channels":');
    later = 2 * HOUR;
    await world.poll(clock);
    assert.equal(await answerTo(id), null);
    up = true;
    await world.poll(clock);
    assert.equal((await answerTo(id))?.outcome, 'signed');
    assert.doesNotMatch(await readFile(file, 'utf8'), new RegExp(id));
  });
});

describe('a request whose authorities', () => {
  let dead: Server;
  before(async () => {
    dead = createServer((socket) => socket.destroy()).listen(0, '127.0.0.1');
    await once(dead, 'listening');
  });
  after(() => dead.close());

  it('timestamp-unavailable: all send wrong answers, fails at once: waiting would not help', async () => {
    await world.reconfigure((text) => text.replace(authority.url, `${authority.url}bad-signature`));
    const id = await asked('j.zip');
    await world.poll();
    assert.equal((await answerTo(id))?.outcome, 'failed');
  });

  it('partly send wrong answers and partly are down, waits', async () => {
    const { port } = dead.address() as AddressInfo;
    await world.reconfigure((text) =>
      text.replace(
        `"${authority.url}bad-signature"`,
        `"${authority.url}bad-signature", "http://127.0.0.1:${port}/"`,
      ),
    );
    const id = await asked('k.zip');
    await world.poll();
    assert.equal(await answerTo(id), null);
  });

  it('are down, fails at once with retry.for: 0', async () => {
    await world.reconfigure((text) => text.replace('for: 1h', 'for: 0'));
    const id = await asked('l.zip');
    await world.poll();
    assert.equal((await answerTo(id))?.reason?.code, 'timestamp-unavailable');
  });
});

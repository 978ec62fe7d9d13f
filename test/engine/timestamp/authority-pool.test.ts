/** Many timestamps from several authorities: what one of them finds out spares the others. */
import { after, before, describe, it } from 'node:test';
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { startTimestampAuthority, type RunningAuthority } from '../../../src/sandbox/timestamp-authority.ts';
import type { Misbehaviour } from '../../../src/sandbox/timestamp-misbehaviour.ts';
import { AuthorityState } from '../../../src/engine/timestamp/authority-state.ts';
import { TimestampClient, type Timestamp } from '../../../src/engine/timestamp/client.ts';
import { directEndpoint, type TimestampEndpoint } from '../../../src/engine/timestamp/transport/endpoint.ts';
import { Pace } from '../../../src/engine/timestamp/pace.ts';
import { TimestampUnavailable } from '../../../src/engine/timestamp/stamp-attempts.ts';
import { until } from '../../until.ts';

const started: RunningAuthority[] = [];

async function start(...options: Parameters<typeof startTimestampAuthority>): Promise<RunningAuthority> {
  const authority = await startTimestampAuthority(...options);
  started.push(authority);
  return authority;
}

let good: RunningAuthority;
before(async () => {
  good = await start();
});
after(() => Promise.all(started.map((each) => each.close())));

/** Requests so many timestamps at once. */
const stamps = (from: TimestampClient, count: number): Promise<Timestamp[]> =>
  Promise.all(Array.from({ length: count }, (_, n) => from.timestamp(Buffer.of(n), 'sha256')));

/** Requests so many timestamps at once, none of which can be had; returns the errors. */
async function failures(from: TimestampClient, count: number): Promise<TimestampUnavailable[]> {
  const all = Array.from({ length: count }, (_, n) => from.timestamp(Buffer.of(n), 'sha256'));
  return (await Promise.allSettled(all)).map((result) => {
    assert.equal(result.status, 'rejected');
    assert.ok(result.reason instanceof TimestampUnavailable, String(result.reason));
    return result.reason;
  });
}

async function duration(task: () => Promise<unknown>): Promise<number> {
  const begun = performance.now();
  await task();
  return performance.now() - begun;
}

describe('an authority out of order costs time once, and not per program', () => {
  const ways: Misbehaviour[] = ['hang', 'drip', 'close', 'http-429', 'http-500', 'garbage', 'bad-signature'];
  for (const way of ways)
    it(way, async () => {
      const broken = await start({ misbehave: way });
      const authorities = new TimestampClient([broken.url, good.url], { timeoutMs: 4000 });
      const ms = await duration(async () => {
        for (const { url } of await stamps(authorities, 60)) assert.equal(url, good.url);
      });
      assert.ok(ms < 3800, `${ms} ms`);
      assert.ok(broken.requests.length <= 8, `${broken.requests.length} requests`);
    });
});

describe('an authority that is late', () => {
  it('is not waited for if another one answers, and counts as failed then', async () => {
    const slow = await start({ misbehave: 'hang' });
    const authorities = new TimestampClient([slow.url, good.url], { timeoutMs: 1000 });
    const ms = await duration(() => authorities.timestamp(Buffer.of(1), 'sha256'));
    assert.ok(ms >= 190 && ms < 900, `${ms} ms`);
    await until('noted', () => authorities.health[0]?.failed === 1);
    assert.equal(authorities.health[0]?.lastFailure?.code, 'timestamp-timeout');
  });

  it('is waited for if its answer comes before that of another', async () => {
    const slow = await start({ misbehave: 'slow' });
    const hanging = await start({ misbehave: 'hang' });
    const authorities = new TimestampClient([slow.url, hanging.url], { timeoutMs: 1000 });
    assert.equal((await authorities.timestamp(Buffer.of(1), 'sha256')).url, slow.url);
    assert.equal(hanging.requests.length, 1);
    assert.equal(authorities.health[0]?.circuit, 'closed');
  });

  it('is waited for if every other one fails', async () => {
    const slow = await start({ misbehave: 'slow' });
    const wrong = await start({ misbehave: 'bad-signature' });
    const authorities = new TimestampClient([slow.url, wrong.url], { timeoutMs: 1000 });
    assert.equal((await authorities.timestamp(Buffer.of(1), 'sha256')).url, slow.url);
    assert.equal(slow.requests.length, 1);
  });

  it('is late after a fifth of its time-out, or three times its usual time if that is longer', () => {
    const limits = { threshold: 3, restMs: 60_000, backOffMs: 1000, timeoutMs: 5000 };
    const state = new AuthorityState(directEndpoint('http://example.org/'), limits);
    assert.equal(state.patience, 1000);
    state.succeeded(performance.now() - 200);
    assert.equal(state.patience, 1000);
    for (let n = 0; n < 2; n += 1) state.succeeded(performance.now() - 600);
    assert.ok(state.patience >= 1800 && state.patience < 3000);
    for (let n = 0; n < 4; n += 1) state.succeeded(performance.now() - 4000);
    assert.equal(state.patience, 5000);
  });
});

describe('the circuit breaker of an authority', () => {
  it('opens after as many failures in a row as one timestamp makes attempts; then nothing is sent', async () => {
    const down = await start({ misbehave: 'http-500' });
    const authorities = new TimestampClient([down.url], { attempts: 2, backOffMs: 20 });
    await failures(authorities, 1);
    assert.equal(authorities.health[0]?.circuit, 'open');
    const [error] = await failures(authorities, 1);
    assert.equal(down.requests.length, 2);
    assert.match(error?.message ?? '', /left alone for a while after failing repeatedly: answered HTTP 500/);
    assert.equal(error?.transient, true);
    assert.equal(error.hint, 'check the network, or name more authorities');
  });

  it('counts the failures of requests in flight together as one', async () => {
    const shaky = await start({ delayMs: 20, misbehave: (n) => (n < 8 ? 'http-500' : undefined) });
    const authorities = new TimestampClient([shaky.url], { attempts: 2, backOffMs: 20 });
    await stamps(authorities, 8);
    assert.equal(authorities.health[0]?.circuit, 'closed');
  });

  it('does not pass an outage off as a wrong answer, nor the reverse', async () => {
    const wrong = await start({ misbehave: 'bad-signature' });
    const authorities = new TimestampClient([wrong.url], { attempts: 1 });
    await failures(authorities, 1);
    const [error] = await failures(authorities, 1);
    assert.equal(wrong.requests.length, 1);
    assert.equal(error?.transient, false);
  });

  it('lets a single request through after a rest, whose result counts for all that wait', async () => {
    let broken = true;
    const down = await start({ delayMs: 30, misbehave: () => (broken ? 'http-500' : undefined) });
    const authorities = new TimestampClient([down.url], { attempts: 1, restMs: 300 });
    await failures(authorities, 1);
    await sleep(320);
    assert.equal(authorities.health[0]?.circuit, 'half-open');
    await failures(authorities, 20);
    assert.equal(down.requests.length, 2, 'one for all');
    broken = false;
    await sleep(320);
    await stamps(authorities, 20);
    assert.equal(down.requests.length, 22);
    assert.equal(down.requests[2]?.inFlight, 1);
    assert.ok(
      (down.requests[3]?.at ?? 0) - (down.requests[2]?.at ?? 0) >= 25,
      'the others wait for the first',
    );
  });

  it('is tried by a single request whose token is not used, while another authority answers', async () => {
    const down = await start({ misbehave: 'http-500' });
    const authorities = new TimestampClient([down.url, good.url], { restMs: 200 });
    await authorities.timestamp(Buffer.of(0), 'sha256');
    await sleep(210);
    const ms = await duration(async () => {
      for (const { url } of await stamps(authorities, 30)) assert.equal(url, good.url);
      await until('tried', () => down.requests.length >= 2);
    });
    assert.ok(down.requests.length <= 2 + ms / 200, `${down.requests.length} requests in ${ms} ms`);
  });

  it('does not hold up a trial request, which asks each authority once', async () => {
    const down = await start({ misbehave: (n) => (n < 1 ? 'http-500' : undefined) });
    const authorities = new TimestampClient([down.url], { attempts: 1 });
    await failures(authorities, 1);
    const { url } = await authorities.timestamp(Buffer.of(0), 'sha256', undefined, true);
    assert.equal(url, down.url);
    assert.equal(authorities.health[0]?.circuit, 'closed');
  });

  it('all authorities dead: every timestamp fails soon, after few requests', async () => {
    const [one, two] = [await start({ misbehave: 'hang' }), await start({ misbehave: 'drip' })];
    const authorities = new TimestampClient([one.url, two.url], {
      timeoutMs: 300,
      attempts: 5,
      backOffMs: 1,
    });
    const ms = await duration(() => failures(authorities, 64));
    assert.ok(ms < 2500, `${ms} ms`);
    assert.ok(one.requests.length + two.requests.length <= 40, 'requests');
  });
});

describe('an authority whose operator asks for a pause between requests', () => {
  it('is asked no more often than that', async () => {
    const endpoint = directEndpoint(good.url);
    const times: number[] = [];
    const post: TimestampEndpoint['post'] = (...query) => {
      times.push(performance.now());
      return endpoint.post(...query);
    };
    await stamps(new TimestampClient([{ ...endpoint, post, pace: new Pace(60) }]), 4);
    assert.equal(times.length, 4);
    for (const [n, at] of times.entries()) assert.ok(n === 0 || at - (times[n - 1] ?? 0) >= 59);
  });

  it('is passed over meanwhile if there is another one', async () => {
    const busy = await start();
    const paced = { ...directEndpoint(busy.url), pace: new Pace(60_000) };
    // Two channels of a signer: the pause is one of the authority.
    const clients = [new TimestampClient([paced, good.url]), new TimestampClient([paced, good.url])];
    const all = await Promise.all(clients.map((client) => stamps(client, 10)));
    assert.equal(all.flat().filter(({ url }) => url === busy.url).length, 1);
  });
});

describe('the health of an authority', () => {
  it('has counts, times, the last failure and the usual latency, and no credentials', async () => {
    const flaky = await start({ delayMs: 20, misbehave: (n) => (n === 0 ? 'http-500' : undefined) });
    const authorities = new TimestampClient([flaky.url, 'https://me:secret@example.org/'], { backOffMs: 1 });
    assert.equal(authorities.answers, 0);
    const one = new TimestampClient([flaky.url], { backOffMs: 1 });
    await one.timestamp(Buffer.of(0), 'sha256');
    const [health] = one.health;
    assert.ok(health);
    assert.deepEqual([health.url, health.succeeded, health.failed], [flaky.url, 1, 1]);
    assert.equal(health.lastFailure?.code, 'timestamp-http');
    assert.ok(health.lastSuccess && health.lastSuccess >= health.lastFailure.at);
    assert.ok(health.medianMs !== null && health.medianMs >= 15);
    assert.equal(one.answers, 2);
    assert.equal(authorities.health[1]?.url, 'https://example.org/');
    assert.equal(authorities.health[1].medianMs, null);
  });
});

import { after, before, describe, it } from 'node:test';
import assert from 'node:assert/strict';
import { createServer as createHttpServer } from 'node:http';
import { createServer, type AddressInfo } from 'node:net';
import { once } from 'node:events';
import { startTimestampAuthority, type RunningAuthority } from '../../../src/sandbox/timestamp-authority.ts';
import type { Misbehaviour } from '../../../src/sandbox/timestamp-misbehaviour.ts';
import { TimestampClient, type TimestampOptions } from '../../../src/engine/timestamp/client.ts';
import { TimestampUnavailable } from '../../../src/engine/timestamp/stamp-attempts.ts';
import { parseEndpoint } from '../../../src/engine/timestamp/transport/http.ts';
import { readRetryAfter } from '../../../src/lib/http/exchange.ts';
import { unavailable } from '../../../src/lib/errors.ts';
import { until } from '../../until.ts';
import { refuses } from '../keys/refusal.ts';

const data = Buffer.from('the signature value of a program');

let good: RunningAuthority;
const started: RunningAuthority[] = [];

async function start(...options: Parameters<typeof startTimestampAuthority>): Promise<RunningAuthority> {
  const authority = await startTimestampAuthority(...options);
  started.push(authority);
  return authority;
}

before(async () => {
  good = await start();
});
after(() => Promise.all(started.map((each) => each.close())));

/** Very short pauses, so that the tests are quick. */
const hasty = { timeoutMs: 2000, backOffMs: 1 } satisfies TimestampOptions;

async function fails(authorities: TimestampClient): Promise<TimestampUnavailable> {
  try {
    await authorities.timestamp(data, 'sha256');
  } catch (error) {
    assert.ok(error instanceof TimestampUnavailable, String(error));
    assert.equal(error.code, 'timestamp-unavailable');
    assert.equal(error.kind, 'unavailable');
    return error;
  }
  assert.fail('a timestamp was given');
}

/** A port of the loopback interface on which no server listens. */
async function closedPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert.ok(address !== null && typeof address === 'object');
  server.close();
  await once(server, 'close');
  return address.port;
}

describe('TimestampClient returns a checked token', () => {
  it('with its time, its authority, and the URL of the authority', async () => {
    const authorities = new TimestampClient([good.url], { roots: [good.root] });
    const { info, url, token } = await authorities.timestamp(data, 'sha384');
    assert.ok(Math.abs(info.time.getTime() - Date.now()) < 10_000);
    assert.equal(info.certificate.commonName, 'Test timestamp authority');
    assert.equal(info.chain?.length, 2);
    assert.equal(url, good.url);
    assert.equal(token[0], 0x30);
  });

  it('under the policy that was asked for', async () => {
    const policy = '1.3.6.1.4.1.32473.7';
    const { info } = await new TimestampClient([good.url], { policy }).timestamp(data, 'sha256');
    assert.equal(info.policy, policy);
  });

  const tolerated: Misbehaviour[] = ['octet-stream', 'no-content-type', 'slow', 'redirect'];
  for (const way of tolerated)
    it(`although the authority is unusual: ${way}`, async () => {
      const { url } = await new TimestampClient([good.url + way], hasty).timestamp(data, 'sha256');
      assert.equal(url, good.url + way);
    });

  it('by an RSA key too', async () => {
    const rsa = await start({ key: 'rsa2048' });
    await new TimestampClient([rsa.url], { roots: [rsa.root] }).timestamp(data, 'sha512');
  });
});

describe('TimestampClient refuses an answer with the code', () => {
  const cases: [Misbehaviour, string][] = [
    ['hang', 'timestamp-timeout'],
    ['drip', 'timestamp-timeout'],
    ['close', 'timestamp-connection'],
    ['garbage', 'timestamp-malformed'],
    ['html', 'timestamp-content-type'],
    ['huge', 'timestamp-too-large'],
    ['http-404', 'timestamp-http'],
    ['http-429', 'timestamp-http'],
    ['http-500', 'timestamp-http'],
    ['redirect-loop', 'timestamp-redirect'],
    ['redirect-file', 'timestamp-redirect'],
    ['rejection', 'timestamp-status'],
    ['time-not-available', 'timestamp-status'],
    ['other-nonce', 'timestamp-nonce'],
    ['no-nonce', 'timestamp-nonce'],
    ['other-imprint', 'timestamp-imprint'],
    ['other-digest', 'timestamp-imprint'],
    ['other-policy', 'timestamp-policy'],
    ['clock-ahead', 'timestamp-time'],
    ['clock-behind', 'timestamp-time'],
    ['expired-certificate', 'timestamp-certificate'],
    ['no-purpose', 'timestamp-certificate'],
    ['purpose-not-critical', 'timestamp-certificate'],
    ['two-purposes', 'timestamp-certificate'],
    ['no-certificate', 'timestamp-certificate'],
    ['unbound', 'timestamp-certificate'],
    ['bound-to-another', 'timestamp-certificate'],
    ['bad-signature', 'timestamp-signature'],
    ['other-root', 'timestamp-untrusted'],
  ];
  for (const [way, code] of cases)
    it(`${code}: ${way}`, async () => {
      const codes: string[] = [];
      const authorities = new TimestampClient([good.url + way], {
        timeoutMs: way === 'hang' || way === 'drip' ? 200 : 2000,
        attempts: 1,
        policy: '1.3.6.1.4.1.32473.1.1',
        roots: [good.root],
        onFailure: (url, error) => codes.push(`${url} ${error.code}`),
      });
      const error = await fails(authorities);
      assert.deepEqual(codes, [`${good.url}${way} ${code}`]);
      assert.ok(error.message.includes(`[${code}]`), error.message);
      // eslint-disable-next-line no-control-regex -- that there is none is what is tested
      assert.doesNotMatch(error.message, /[\u0000-\u001f\u007f]/);
    });

  it('timestamp-connection: no server listens, or the host does not exist', async () => {
    const closed = `http://127.0.0.1:${await closedPort()}/`;
    const nowhere = 'http://authority.invalid/';
    const error = await fails(new TimestampClient([closed, nowhere], { ...hasty, attempts: 1 }));
    assert.match(error.message, /ECONNREFUSED.*\[timestamp-connection\]; http:\/\/authority\.invalid\//);
  });

  it('timestamp-time: with the configured tolerance', async () => {
    const ahead = await start({ now: () => new Date(Date.now() + 120_000) });
    await new TimestampClient([ahead.url]).timestamp(data, 'sha256');
    const strict = new TimestampClient([ahead.url], { ...hasty, attempts: 1, clockToleranceMs: 60_000 });
    assert.match((await fails(strict)).message, /\[timestamp-time\]/);
  });
});

describe('TimestampClient fails over', () => {
  it('to the next one in order, at once, if an answer is wrong', async () => {
    const bad = await start({ misbehave: 'other-nonce' });
    const authorities = new TimestampClient([bad.url, good.url]);
    const { url } = await authorities.timestamp(data, 'sha256');
    assert.equal(url, good.url);
    assert.equal(bad.requests.length, 1);
  });

  it('asks one that failed only after the others for a while, and then in order again', async () => {
    const flaky = await start({ misbehave: (n) => (n === 0 ? 'http-500' : undefined) });
    const authorities = new TimestampClient([flaky.url, good.url], { restMs: 1000 });
    const from = async (): Promise<string> => (await authorities.timestamp(data, 'sha256')).url;
    assert.equal(await from(), good.url);
    assert.equal(await from(), good.url);
    assert.equal(flaky.requests.length, 1);
    await new Promise((resolve) => setTimeout(resolve, 1100));
    assert.equal(await from(), good.url, 'the other one, while a single request tries it');
    await until('it has answered', () => authorities.health[0]?.succeeded === 1);
    assert.equal(await from(), flaky.url);
  });

  it('asks one that failed before if the others fail too', async () => {
    const flaky = await start({ misbehave: (n) => (n === 0 ? 'close' : undefined) });
    const down = await start({ misbehave: 'http-500' });
    const authorities = new TimestampClient([flaky.url, down.url], hasty);
    assert.equal((await authorities.timestamp(data, 'sha256')).url, flaky.url);
    assert.equal(down.requests.length, 1);
  });

  it('asks each as often as allowed, with growing pauses, and then reports what each answered', async () => {
    const [one, two] = [await start({ misbehave: 'http-500' }), await start({ misbehave: 'close' })];
    const urls = [one.url, two.url];
    const authorities = new TimestampClient(urls, { attempts: 3, backOffMs: 40 });
    const error = await fails(authorities);
    assert.equal(one.requests.length, 3);
    assert.equal(two.requests.length, 3);
    const [first, second, third] = one.requests.map(({ at }) => at);
    assert.ok(first !== undefined && second !== undefined && third !== undefined);
    assert.ok(second - first >= 29, `first pause ${second - first} ms`);
    assert.ok(third - second >= 59, `second pause ${third - second} ms`);
    for (const [at, url] of urls.entries())
      assert.ok(error.message.includes(`${url} (asked 3 times): ${at === 0 ? 'answered HTTP 500' : ''}`));
  });

  it('does not ask again after a wrong answer or a permanent refusal', async () => {
    const wrong = await start({ misbehave: 'bad-signature' });
    const gone = await start({ misbehave: 'http-404' });
    await fails(new TimestampClient([wrong.url, gone.url], { ...hasty, attempts: 5 }));
    assert.equal(wrong.requests.length, 1);
    assert.equal(gone.requests.length, 1);
  });

  it('waits as Retry-After asks if there is no other authority', async () => {
    const busy = await start({ misbehave: (n) => (n === 0 ? 'http-429' : undefined) });
    await new TimestampClient([busy.url], hasty).timestamp(data, 'sha256');
    const [first, second] = busy.requests;
    assert.ok(first && second && second.at - first.at >= 990, 'asked again too soon');
  });

  it('obeys at most ten minutes of a Retry-After, which anyone on the network can send', async () => {
    const years = createHttpServer((_, response) =>
      response.writeHead(429, { 'retry-after': '315360000' }).end(),
    ).listen(0, '127.0.0.1');
    await once(years, 'listening');
    const { port } = years.address() as AddressInfo;
    const authorities = new TimestampClient([`http://127.0.0.1:${port}/`], hasty);
    await fails(authorities);
    const error = await fails(authorities);
    const [, seconds] = /asks to wait another (\d+) s/.exec(error.message) ?? [];
    assert.ok(Number(seconds) > 590 && Number(seconds) <= 600, error.message);
    assert.equal(error.transient, true);
    years.close();
  });

  it('says what to do about each authority', async () => {
    const closed = `http://127.0.0.1:${await closedPort()}/`;
    const urls = [closed, `${good.url}html`, `${good.url}other-root`, `${good.url}bad-signature`];
    const error = await fails(new TimestampClient(urls, { ...hasty, attempts: 1, roots: [good.root] }));
    const hints = error.hint?.split('; ') ?? [];
    assert.deepEqual(
      hints.map((hint, at) => [hint.startsWith(`${urls[at]}: `), hint.slice(`${urls[at]}: `.length)]),
      [
        [true, 'check the network, or name more authorities'],
        [true, 'a proxy or a login page may have answered instead'],
        [
          true,
          'if you trust that authority, add public and the certificate at the top of its chain to signing.timestampRoots',
        ],
        [true, 'the authority answers wrongly, or someone on the network answers in its place: name another'],
      ],
    );
    assert.equal(error.transient, true);
  });

  it('says whether waiting may help: not if every answer was wrong', async () => {
    const wrong = [`${good.url}bad-signature`, `${good.url}other-nonce`];
    assert.equal((await fails(new TimestampClient(wrong, hasty))).transient, false);
    for (const way of ['time-not-available', 'http-500', 'hang', 'html']) {
      const options = { ...hasty, attempts: 1, timeoutMs: 300 };
      const one = new TimestampClient([...wrong, good.url + way], options);
      assert.equal((await fails(one)).transient, true, way);
    }
  });

  it('does not wait for a Retry-After that is too far away', async () => {
    const busy = await start({ misbehave: 'http-429' });
    const authorities = new TimestampClient([busy.url], { ...hasty, longestWaitMs: 100 });
    assert.match((await fails(authorities)).message, /asks to wait another 1 s/);
    assert.equal(busy.requests.length, 1);
  });
});

describe('TimestampClient with many timestamps at once', () => {
  it('has at most as many requests in flight as configured', async () => {
    const busy = await start({ delayMs: 20 });
    const authorities = new TimestampClient([busy.url], { concurrency: 3 });
    const stamps = Array.from({ length: 15 }, (_, n) => authorities.timestamp(Buffer.of(n), 'sha256'));
    const serials = new Set((await Promise.all(stamps)).map(({ info }) => info.serial));
    assert.equal(serials.size, 15);
    assert.equal(Math.max(...busy.requests.map(({ inFlight }) => inFlight)), 3);
    const connections = new Set(busy.requests.map(({ port }) => port));
    assert.ok(connections.size < 10, `${connections.size} connections for 15 requests`);
  });

  it('asks a direct authority behind a courier as carefully as one alone', async () => {
    const busy = await start({ delayMs: 50 });
    const courier = {
      url: 'http://courier.test/',
      concurrency: 256,
      post: () => Promise.reject(unavailable('timestamp-courier', 'no courier runs')),
    };
    const authorities = new TimestampClient([courier, busy.url], { concurrency: 16 });
    await Promise.all(Array.from({ length: 80 }, (_, n) => authorities.timestamp(Buffer.of(n), 'sha256')));
    assert.equal(busy.requests.length, 80);
    assert.equal(inFlight(busy, 0, 8), 8);
    assert.equal(inFlight(busy, 0, 80), 16);
  });

  const inFlight = ({ requests }: RunningAuthority, from: number, to: number): number =>
    Math.max(...requests.slice(from, to).map((each) => each.inFlight));

  it('begins with eight requests in flight, and allows more after good answers', async () => {
    const strong = await start({ delayMs: 50 });
    const authorities = new TimestampClient([strong.url]);
    await Promise.all(Array.from({ length: 60 }, (_, n) => authorities.timestamp(Buffer.of(n), 'sha256')));
    assert.equal(inFlight(strong, 0, 8), 8);
    assert.ok(inFlight(strong, 0, 24) <= 16, 'it grew faster than twofold');
    assert.ok(inFlight(strong, 24, 60) > 16, 'it did not grow');
  });

  it('halves the requests in flight after a failure, and allows more after good answers', async () => {
    const weak = await start({ delayMs: 20, misbehave: (n) => (n < 8 ? 'http-500' : undefined) });
    const authorities = new TimestampClient([weak.url], { backOffMs: 1 });
    await Promise.all(Array.from({ length: 40 }, (_, n) => authorities.timestamp(Buffer.of(n), 'sha256')));
    assert.equal(weak.requests.length, 48);
    assert.ok(inFlight(weak, 16, 20) <= 8, 'it did not shrink');
    assert.ok(inFlight(weak, 28, 48) > 4, 'it did not grow again');
  });

  it('reuses its connection', async () => {
    const calm = await start();
    const authorities = new TimestampClient([calm.url]);
    for (let n = 0; n < 8; n += 1) await authorities.timestamp(Buffer.of(n), 'sha256');
    const connections = new Set(calm.requests.map(({ port }) => port));
    assert.ok(connections.size <= 2, `${connections.size} connections for 8 requests`);
  });

  it('delays only the requests in flight if an authority hangs', async () => {
    const hanging = await start({ misbehave: 'hang' });
    const urls = [hanging.url, good.url];
    const authorities = new TimestampClient(urls, { concurrency: 2, timeoutMs: 200 });
    const stamps = Array.from({ length: 10 }, (_, n) => authorities.timestamp(Buffer.of(n), 'sha256'));
    for (const { url } of await Promise.all(stamps)) assert.equal(url, good.url);
    assert.equal(hanging.requests.length, 2);
  });

  it('stops with the reason of the signal, in the middle of a request or of a pause', async () => {
    for (const way of ['hang', 'http-500']) {
      const stop = new AbortController();
      const reason = new Error('the run was stopped');
      const options = { backOffMs: 60_000, signal: stop.signal };
      const stamp = new TimestampClient([good.url + way], options).timestamp(data, 'sha256');
      setTimeout(() => stop.abort(reason), 100);
      await assert.rejects(stamp, reason);
    }
  });
});

describe('the address of an authority', () => {
  it('timestamp-url: not http or https, or no URL', async () => {
    for (const url of ['', 'timestamp.example.org', 'ftp://example.org/', 'file:///etc/passwd'])
      await refuses('timestamp-url', () => new TimestampClient([url]));
    await refuses('timestamp-url', () => new TimestampClient([]));
  });

  it('timestamp-url: credentials over http, which the message does not repeat', async () => {
    const url = 'http://user:open%20sesame%204711@example.org/';
    const error = await refuses('timestamp-url', () => parseEndpoint(url));
    assert.doesNotMatch(error.message, /sesame/);
  });

  it('does not show credentials', () => {
    const endpoint = parseEndpoint('https://user:p%40ss@example.org/tsa#x');
    assert.equal(endpoint.url, 'https://example.org/tsa');
    assert.equal(endpoint.authorization, `Basic ${Buffer.from('user:p@ss').toString('base64')}`);
  });

  it('sends a password unchanged if a percent sign in it begins no escape', () => {
    const { authorization } = parseEndpoint('https://user:100%25%@example.org/');
    assert.equal(authorization, `Basic ${Buffer.from('user:100%25%').toString('base64')}`);
  });

  it('reads Retry-After only as seconds or as a date', () => {
    const now = Date.parse('2026-01-01T00:00:00Z');
    assert.equal(readRetryAfter('120', now), 120_000);
    assert.equal(readRetryAfter('Thu, 01 Jan 2026 00:01:00 GMT', now), 60_000);
    assert.equal(readRetryAfter('Wed, 31 Dec 2025 00:00:00 GMT', now), 0);
    for (const other of [undefined, '', '-1', 'soon', '1e9', '99999999999999'])
      assert.equal(readRetryAfter(other, now), undefined);
  });
});

/** Authorities behind a proxy that the environment names: CONNECT for https, the absolute form for http. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, request, type IncomingMessage, type Server } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { after, before, beforeEach, describe, it } from 'node:test';
import {
  startTimestampAuthority,
  type RunningAuthority,
} from '../../../../src/sandbox/timestamp-authority.ts';
import { TimestampClient } from '../../../../src/engine/timestamp/client.ts';
import { proxyFor } from '../../../../src/engine/timestamp/transport/proxy.ts';
import { OpensslFolder } from '../../keys/openssl.ts';
import { refuses } from '../../keys/refusal.ts';
import { askedWith, tlsFront, type Asked, type TlsFront } from '../tls-front.ts';

const PASSWORD = 'open sesame 4711';
const SECRET = `user:${encodeURIComponent(PASSWORD)}`;
const BASIC = `Basic ${Buffer.from(`user:${PASSWORD}`).toString('base64')}`;

let work: OpensslFolder;
let authority: RunningAuthority;
let secure: TlsFront;
let proxy: Server;
let port = 0;
/** The requests to the proxy: method, target, and Proxy-Authorization. */
let seen: { line: string; authorization: string | undefined }[] = [];
/** What the proxy answers instead of forwarding; null if it forwards. */
let instead: number | 'hang' | null = null;
let wantsPassword = false;

const isWelcome = (incoming: IncomingMessage): boolean => {
  const authorization = incoming.headers['proxy-authorization'];
  seen.push({ line: `${incoming.method} ${incoming.url}`, authorization });
  return !wantsPassword || authorization === BASIC;
};

/** A small forward proxy (RFC 9110 section 7.3.2). */
function startProxy(): Server {
  const server = createServer((incoming, response) => {
    const welcome = isWelcome(incoming);
    if (instead === 'hang') return;
    if (!welcome || instead !== null) return void response.writeHead(instead ?? 407).end();
    const { 'proxy-authorization': _, ...headers } = incoming.headers;
    const onward = request(incoming.url ?? '', { method: incoming.method ?? '', headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 0, answer.headers);
      answer.pipe(response);
    });
    incoming.pipe(onward);
  });
  server.on('connect', (incoming: IncomingMessage, socket) => {
    const welcome = isWelcome(incoming);
    if (instead === 'hang') return;
    if (!welcome || instead !== null) return void socket.end(`HTTP/1.1 ${instead ?? 407} No\r\n\r\n`);
    const [host = '', to = ''] = (incoming.url ?? '').split(':');
    const onward = connect(Number(to), host, () => {
      socket.write('HTTP/1.1 200 Connected\r\n\r\n');
      socket.pipe(onward).pipe(socket);
    });
    socket.on('error', () => onward.destroy());
    onward.on('error', () => socket.destroy());
  });
  return server.listen(0, '127.0.0.1');
}

before(async () => {
  work = await OpensslFolder.create();
  authority = await startTimestampAuthority();
  secure = await tlsFront(work, authority.url, 'good', 'IP:127.0.0.1');
  proxy = startProxy();
  await once(proxy, 'listening');
  ({ port } = proxy.address() as AddressInfo);
});
after(async () => {
  proxy.close().closeAllConnections();
  secure.server.close().closeAllConnections();
  await authority.close();
  await work.remove();
});
beforeEach(() => {
  [seen, instead, wantsPassword] = [[], null, false];
});

const proxyUrl = (credentials = ''): string =>
  `http://${credentials}${credentials === '' ? '' : '@'}127.0.0.1:${port}`;

const trusting = (environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv => ({
  ...environment,
  NODE_EXTRA_CA_CERTS: work.path('good.pem'),
});

/** Sends requests with this environment, and checks that no password is printed, not even with debugging output. */
async function asked(urls: readonly string[], environment: NodeJS.ProcessEnv): Promise<Asked[]> {
  const result = await askedWith(urls, trusting({ DEBUG: '*', ...environment }));
  assert.doesNotMatch(result.printed, /sesame|b3BlbiBzZXNhbWU|dXNlcjpvcGVu/);
  return result.asked;
}

const granted = { code: 'granted', message: '' };
const proxies = (credentials = ''): NodeJS.ProcessEnv => ({
  http_proxy: proxyUrl(credentials),
  https_proxy: proxyUrl(credentials),
});
const both = (): string[] => [authority.url, secure.url];
const lines = (): string[] => seen.map(({ line }) => line);
const tunnel = (): string => `CONNECT ${new URL(secure.url).host}`;

describe('an authority behind a proxy', () => {
  it('is asked in absolute form over http, and through a tunnel over https', async () => {
    assert.deepEqual(await asked(both(), proxies()), [granted, granted]);
    assert.deepEqual(lines(), [`POST ${authority.url}`, tunnel()]);
    assert.deepEqual(
      seen.map(({ authorization }) => authorization),
      [undefined, undefined],
    );
  });

  it('over https has its certificate checked at this end of the tunnel', async () => {
    const { asked: all } = await askedWith([secure.url], proxies());
    assert.equal(all[0]?.code, 'timestamp-connection');
    assert.match(all[0].message, /through the proxy http:\/\/127[^:]*:\d+\/: self-signed certificate/);
  });

  it('is reached with variables in upper case too', async () => {
    const upper = { HTTP_PROXY: proxyUrl(), HTTPS_PROXY: proxyUrl() };
    assert.deepEqual(await asked(both(), upper), [granted, granted]);
    assert.equal(seen.length, 2);
  });

  it('is reached only with the variable of its own scheme', async () => {
    assert.deepEqual(await asked(both(), { http_proxy: proxyUrl() }), [granted, granted]);
    assert.deepEqual(lines(), [`POST ${authority.url}`]);
    assert.deepEqual(await asked(both(), { https_proxy: proxyUrl() }), [granted, granted]);
    assert.deepEqual(lines(), [`POST ${authority.url}`, tunnel()]);
  });

  it('is asked directly if no_proxy lists it', async () => {
    for (const none of [{ no_proxy: 'example.org,127.0.0.1' }, { NO_PROXY: '*' }])
      assert.deepEqual(await asked(both(), { ...proxies(), ...none }), [granted, granted]);
    assert.deepEqual(seen, []);
    assert.deepEqual(await asked([authority.url], { ...proxies(), no_proxy: 'example.org' }), [granted]);
    assert.equal(seen.length, 1);
  });

  it('is reached with user and password, which are sent to the proxy only', async () => {
    wantsPassword = true;
    assert.deepEqual(await asked(both(), proxies(SECRET)), [granted, granted]);
    assert.deepEqual(
      seen.map(({ authorization }) => authorization),
      [BASIC, BASIC],
    );
  });

  it('timestamp-proxy: user and password are missing or wrong', async () => {
    wantsPassword = true;
    for (const credentials of ['', 'user:open%20sesame'])
      for (const { code, message } of await asked(both(), proxies(credentials))) {
        assert.equal(code, 'timestamp-proxy', message);
        assert.match(
          message,
          /the proxy http:\/\/127\.0\.0\.1:\d+\/ requires a user and password \(HTTP 407\)$/,
        );
      }
  });

  it('timestamp-proxy, timestamp-http: the proxy refuses', async () => {
    instead = 502;
    const [plain, tunnelled] = await asked(both(), proxies(SECRET));
    assert.equal(plain?.code, 'timestamp-http');
    assert.equal(tunnelled?.code, 'timestamp-proxy');
    assert.match(tunnelled.message, /opens no tunnel \(HTTP 502\)$/);
  });

  it('timestamp-connection: no proxy is there', async () => {
    const dead = `http://${SECRET}@127.0.0.1:1`;
    for (const { code, message } of await asked(both(), { http_proxy: dead, https_proxy: dead })) {
      assert.equal(code, 'timestamp-connection');
      assert.match(message, /through the proxy http:\/\/127\.0\.0\.1:1\/: .*ECONNREFUSED/);
    }
  });

  it('timestamp-timeout: the proxy does not answer, and no connection stays open', async () => {
    instead = 'hang';
    const began = performance.now();
    for (const { code } of await asked(both(), proxies())) assert.equal(code, 'timestamp-timeout');
    assert.ok(performance.now() - began < 12_000);
  });

  it('is asked again over the same tunnel', async () => {
    assert.deepEqual(await asked([secure.url, secure.url], proxies()), [granted, granted]);
    assert.deepEqual(lines(), [tunnel()]);
  });
});

describe('a proxy in the environment', () => {
  const withVariable = async (value: string, check: () => Promise<void> | void): Promise<void> => {
    const before = process.env['http_proxy'];
    process.env['http_proxy'] = value;
    try {
      await check();
    } finally {
      if (before === undefined) delete process.env['http_proxy'];
      else process.env['http_proxy'] = before;
    }
  };

  it('timestamp-proxy: not an http or https URL; refused before any work, and not shown', async () => {
    for (const value of ['socks5://user:sesame@127.0.0.1:1080', 'http://user:sesame@:x'])
      await withVariable(value, async () => {
        const error = await refuses('timestamp-proxy', () => new TimestampClient(['http://tsa.example/']));
        assert.equal(error.kind, 'usage');
        assert.doesNotMatch(`${error.message} ${error.hint}`, /sesame/);
      });
  });

  it('is shown without user and password', async () => {
    await withVariable('http://user:sesame@proxy.example:3128/', () => {
      assert.equal(proxyFor('http://tsa.example/')?.shown, 'http://proxy.example:3128/');
    });
  });

  it('may be named without a scheme', async () => {
    await withVariable('proxy.example:3128', () => {
      assert.equal(proxyFor('http://tsa.example/')?.shown, 'http://proxy.example:3128/');
    });
  });
});

import { after, describe, it } from 'node:test';
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { SignpipeError } from '../../../../src/lib/errors.ts';
import { postTimestampQuery, MAX_RESPONSE_SIZE } from '../../../../src/engine/timestamp/transport/http.ts';

const servers: Server[] = [];

after(() => {
  for (const server of servers) server.close().closeAllConnections();
});

/** A server on the loopback interface; its URL ends in a slash. */
async function serve(
  listener: (...args: Parameters<RequestListener>) => void | Promise<void>,
): Promise<string> {
  const server = createServer((request, response) => void listener(request, response)).listen(0, '127.0.0.1');
  servers.push(server);
  await once(server, 'listening');
  const address = server.address();
  assert.ok(address !== null && typeof address === 'object');
  return `http://127.0.0.1:${address.port}/`;
}

const query = Buffer.from('a query');
const REPLY = { 'content-type': 'application/timestamp-reply' };
const ask = (url: string, timeoutMs = 5000, authorization?: string): Promise<Buffer> =>
  postTimestampQuery({ url, authorization }, query, timeoutMs);

async function refused(code: string, asked: Promise<Buffer>): Promise<SignpipeError> {
  const error = await asked.then(
    () => assert.fail(`${code} expected`),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof SignpipeError, String(error));
  assert.equal(error.code, code);
  return error;
}

describe('a request to an authority', () => {
  it('is one POST with the query, its length and its type; the answer is returned unparsed', async () => {
    let seen: IncomingMessage | undefined;
    let body = '';
    const url = await serve(async (request, response) => {
      seen = request;
      body = (await buffer(request)).toString();
      response.writeHead(200, REPLY).write('an ans');
      setTimeout(() => response.end('wer'), 20);
    });
    assert.equal((await ask(`${url}tsa?of=ours`)).toString(), 'an answer');
    assert.equal(body, 'a query');
    const { connection: _, host: __, ...headers } = seen?.headers ?? {};
    assert.equal(`${seen?.method} ${seen?.url}`, 'POST /tsa?of=ours');
    assert.deepEqual(headers, {
      'content-type': 'application/timestamp-query',
      'content-length': '7',
      accept: 'application/timestamp-reply',
      'accept-encoding': 'identity',
      'user-agent': 'signpipe',
    });
  });

  it('repeats its query, but not its credentials, at the target of a redirect', async () => {
    const seen: string[] = [];
    const credentialsIn = ({ headers }: IncomingMessage): string => headers.authorization ?? 'nothing';
    const elsewhere = await serve(async (request, response) => {
      seen.push(credentialsIn(request));
      response.writeHead(200, REPLY).end(await buffer(request));
    });
    const url = await serve((request, response) => {
      seen.push(credentialsIn(request));
      response.writeHead(307, { location: request.url === '/' ? '/again' : elsewhere }).end('moved');
    });
    assert.equal((await ask(url, 5000, 'Basic c2VjcmV0')).toString(), 'a query');
    assert.deepEqual(seen, ['Basic c2VjcmV0', 'Basic c2VjcmV0', 'nothing']);
  });
});

describe('an answer that is not a timestamp', () => {
  it('timestamp-connection: incomplete', async () => {
    const url = await serve((_, response) => {
      response.writeHead(200, { ...REPLY, 'content-length': '1000' }).write('begun');
      setTimeout(() => response.destroy(), 20);
    });
    await refused('timestamp-connection', ask(url));
  });

  it('timestamp-connection: not HTTP, or a switch to another protocol', async () => {
    const url = await serve(({ socket }) => void socket.end('SSH-2.0-server\r\n'));
    await refused('timestamp-connection', ask(url));
    const switching = await serve(
      ({ socket }) =>
        void socket.write('HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n'),
    );
    await refused('timestamp-connection', ask(switching));
  });

  it('timestamp-timeout: headers, and then nothing', async () => {
    const url = await serve((_, response) => response.writeHead(200, REPLY).flushHeaders());
    const { message } = await refused('timestamp-timeout', ask(url, 200));
    assert.match(message, /no answer within 0\.2 s/);
  });

  it('timestamp-too-large: without a length, and without an end', async () => {
    let closed: Promise<unknown> = Promise.resolve();
    const url = await serve((_, response) => {
      closed = once(response, 'close');
      response.writeHead(200, REPLY);
      const more = setInterval(() => response.write(Buffer.alloc(MAX_RESPONSE_SIZE / 4)), 1);
      response.once('close', () => clearInterval(more));
    });
    await refused('timestamp-too-large', ask(url));
    await closed;
  });

  it('timestamp-http: a refusal, whose body is not read', async () => {
    let closed: Promise<unknown> = Promise.resolve();
    const url = await serve((_, response) => {
      closed = once(response, 'close');
      response.writeHead(503, { 'retry-after': '7' }).write('sorry, ...');
    });
    const { message } = await refused('timestamp-http', ask(url));
    assert.match(message, /HTTP 503, and asks to wait 7 s/);
    await closed;
  });
});

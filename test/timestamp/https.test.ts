import { after, before, describe, it } from 'node:test';
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:https';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { startTimestampAuthority, type RunningAuthority } from '../../src/sandbox/timestamp-authority.ts';
import { OpensslFolder } from '../keys/openssl.ts';

/** A TLS server before the sandbox's authority: `/` passes on, `/down` redirects to its http address. */
interface TlsFront {
  /** Ends in a slash. */
  readonly url: string;
  readonly server: Server;
}

let work: OpensslFolder;
let authority: RunningAuthority;
let good: TlsFront;
let misnamed: TlsFront;

before(async () => {
  work = await OpensslFolder.create();
  authority = await startTimestampAuthority();
  good = await front('good', 'IP:127.0.0.1');
  misnamed = await front('misnamed', 'DNS:elsewhere.example.org');
});

after(async () => {
  for (const { server } of [good, misnamed]) server.close().closeAllConnections();
  await authority.close();
  await work.remove();
});

async function front(name: string, subject: string): Promise<TlsFront> {
  const key = 'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2';
  await work.openssl(
    `${key} -subj /CN=${name} -addext subjectAltName=${subject} -keyout ${name}.key -out ${name}.pem`,
  );
  const [cert, secret] = [await readFile(work.path(`${name}.pem`)), await readFile(work.path(`${name}.key`))];
  const server = createServer({ cert, key: secret }, (request, response) => {
    if (request.url === '/down') return void response.writeHead(307, { location: authority.url }).end();
    void passOn(request, response);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert.ok(address !== null && typeof address === 'object');
  return { url: `https://127.0.0.1:${address.port}/`, server };
}

async function passOn(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const headers = { 'content-type': request.headers['content-type'] ?? '' };
  const body = new Uint8Array(await buffer(request));
  const answer = await fetch(authority.url, { method: 'POST', headers, body });
  const type = answer.headers.get('content-type') ?? '';
  response.writeHead(answer.status, { 'content-type': type }).end(Buffer.from(await answer.arrayBuffer()));
}

const run = promisify(execFile);
const CHILD = fileURLToPath(new URL('stamp-child.ts', import.meta.url));

/** What a process that trusts the certificates in `ca` besides the usual ones gets from `url`. */
async function asked(url: string, ca?: string): Promise<{ code: string; message: string }> {
  const extra = ca === undefined ? {} : { NODE_EXTRA_CA_CERTS: work.path(ca) };
  const { NODE_EXTRA_CA_CERTS: _, NODE_TLS_REJECT_UNAUTHORIZED: __, ...env } = process.env;
  const { stdout } = await run(process.execPath, ['--import', 'tsx', CHILD, url], {
    env: { ...env, ...extra },
    timeout: 30_000,
  });
  return JSON.parse(stdout);
}

describe('an authority by https', () => {
  it('stamps when its certificate is trusted', async () => {
    const before = authority.requests.length;
    assert.deepEqual(await asked(good.url, 'good.pem'), { code: 'granted', message: '' });
    assert.equal(authority.requests.length, before + 1);
  });

  it('timestamp-connection: its certificate is not trusted', async () => {
    const before = authority.requests.length;
    const { code, message } = await asked(good.url);
    assert.equal(code, 'timestamp-connection');
    assert.match(message, /self-signed certificate/);
    assert.equal(authority.requests.length, before, 'the request was sent');
  });

  it('timestamp-connection: its certificate is trusted, and is for another host', async () => {
    const { code, message } = await asked(misnamed.url, 'misnamed.pem');
    assert.equal(code, 'timestamp-connection');
    assert.match(message, /does not match certificate's altnames/);
  });

  it('timestamp-redirect: it redirects to http', async () => {
    const before = authority.requests.length;
    const { code, message } = await asked(`${good.url}down`, 'good.pem');
    assert.equal(code, 'timestamp-redirect');
    assert.match(message, /redirects from https to http/);
    assert.equal(authority.requests.length, before, 'the request was sent in the clear');
  });
});

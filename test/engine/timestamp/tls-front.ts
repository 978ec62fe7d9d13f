import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import { buffer } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { OpensslFolder } from '../keys/openssl.ts';

/** A TLS server in front of the sandbox's authority: `/` forwards, `/down` redirects to the http address. */
export interface TlsFront {
  /** Ends in a slash. */
  readonly url: string;
  readonly server: Server;
}

/** Starts a server at 127.0.0.1 with its own certificate, `NAME.pem`, for `subject` (`IP:127.0.0.1`). */
export async function tlsFront(
  work: OpensslFolder,
  behind: string,
  name: string,
  subject: string,
): Promise<TlsFront> {
  const key = 'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2';
  await work.openssl(
    `${key} -subj /CN=${name} -addext subjectAltName=${subject} -keyout ${name}.key -out ${name}.pem`,
  );
  const [cert, secret] = [await readFile(work.path(`${name}.pem`)), await readFile(work.path(`${name}.key`))];
  const server = createServer({ cert, key: secret }, (request, response) => {
    if (request.url === '/down') return void response.writeHead(307, { location: behind }).end();
    void passOn(behind, request, response);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert.ok(address !== null && typeof address === 'object');
  return { url: `https://127.0.0.1:${address.port}/`, server };
}

async function passOn(behind: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const headers = { 'content-type': request.headers['content-type'] ?? '' };
  const body = new Uint8Array(await buffer(request));
  const answer = await fetch(behind, { method: 'POST', headers, body });
  const type = answer.headers.get('content-type') ?? '';
  response.writeHead(answer.status, { 'content-type': type }).end(Buffer.from(await answer.arrayBuffer()));
}

const run = promisify(execFile);
const CHILD = fileURLToPath(new URL('stamp-child.ts', import.meta.url));

/** The outcome of one request: `granted`, or the code and message of the failure. */
export interface Asked {
  readonly code: string;
  readonly message: string;
}

/** Asks each URL once, in a process with these environment variables added and no proxy named otherwise. */
export async function askedWith(
  urls: readonly string[],
  environment: NodeJS.ProcessEnv = {},
): Promise<{ asked: Asked[]; printed: string }> {
  const { NODE_EXTRA_CA_CERTS: _, NODE_TLS_REJECT_UNAUTHORIZED: __, ...rest } = process.env;
  const plain = Object.entries(rest).filter(([name]) => !/_proxy$/i.test(name));
  const { stdout, stderr } = await run(process.execPath, ['--import', 'tsx', CHILD, ...urls], {
    env: { ...Object.fromEntries(plain), ...environment },
    timeout: 30_000,
  });
  return { asked: JSON.parse(stdout) as Asked[], printed: stdout + stderr };
}

import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { SignpipeError } from '../lib/errors.ts';
import type { Certificate } from '../lib/x509/certificate.ts';
import { createTestCertificate, type KeyKind, type TestIdentity } from './certificates.ts';
import {
  contentType,
  MISBEHAVIOURS,
  Misbehaver,
  sendWrongResponse,
  type Misbehaviour,
} from './timestamp-misbehaviour.ts';
import {
  FAILURE,
  grant,
  isKnownImprint,
  makeToken,
  readRequest,
  refuse,
  type ParsedRequest,
} from './timestamp-token.ts';

/**
 * A timestamp authority (RFC 3161 over HTTP) in this process, on the loopback interface, for the demo and the tests.
 * On request it misbehaves as real authorities do, and as attackers would: by option for every request, or by the
 * path for a single one (`…/hang`).
 */

export interface TimestampAuthorityOptions {
  /** Its certificate; default a new one under `issuer`, or under a new root. */
  readonly identity?: TestIdentity | undefined;
  /** The issuer of its certificate if `identity` is not given. */
  readonly issuer?: TestIdentity | undefined;
  /** The kind of its key if `identity` is not given; default P-256. */
  readonly key?: KeyKind | undefined;
  /** How to misbehave on requests without a path of their own, by their number from 0; default not at all. */
  readonly misbehave?: Misbehaviour | ((request: number) => Misbehaviour | undefined) | undefined;
  /** Its clock. */
  readonly now?: (() => Date) | undefined;
  /** The delay of every response, in ms. */
  readonly delayMs?: number | undefined;
}

/** A request that was received. */
interface SeenRequest {
  readonly path: string;
  /** The client's port: the same for requests over one connection. */
  readonly port: number;
  /** Requests in flight when it came, including itself. */
  readonly inFlight: number;
  /** When it came, in ms since the epoch. */
  readonly at: number;
}

export interface RunningAuthority {
  /** Ends in a slash; append a misbehaviour's name to request it. */
  readonly url: string;
  readonly identity: TestIdentity;
  readonly certificate: Certificate;
  /** The root to verify its tokens with. */
  readonly root: Certificate;
  /** Every request so far. */
  readonly requests: readonly SeenRequest[];
  /** Closes at once, including requests that hang. */
  close(): Promise<void>;
}

const LARGEST_QUERY = 16 * 1024;

async function readQuery(request: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    size += part.length;
    if (size > LARGEST_QUERY) throw new SignpipeError('invalid', 'timestamp-request', 'request too large');
    parts.push(part);
  }
  return Buffer.concat(parts);
}

function send(response: ServerResponse, body: Buffer, type: string | null): void {
  response.writeHead(200, {
    ...(type === null ? {} : { 'content-type': type }),
    'content-length': body.length,
  });
  response.end(body);
}

class TimestampServer {
  readonly requests: SeenRequest[] = [];
  private inFlight = 0;
  private readonly misbehaver: Misbehaver;

  constructor(
    private readonly identity: TestIdentity,
    issuer: TestIdentity,
    private readonly options: TimestampAuthorityOptions,
  ) {
    this.misbehaver = new Misbehaver(issuer);
  }

  async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.inFlight += 1;
    response.once('close', () => (this.inFlight -= 1));
    const path = request.url ?? '/';
    const number = this.requests.push({
      path,
      port: request.socket.remotePort ?? 0,
      inFlight: this.inFlight,
      at: Date.now(),
    });
    const query = await readQuery(request);
    if (this.options.delayMs !== undefined) await sleep(this.options.delayMs);
    const how = this.misbehaviour(path, number - 1);
    if (how !== undefined && (await sendWrongResponse(how, response))) return;
    send(response, await this.reply(query, how), contentType(how));
  }

  private misbehaviour(path: string, number: number): Misbehaviour | undefined {
    const byPath = MISBEHAVIOURS.find((each) => path === `/${each}`);
    const { misbehave } = this.options;
    return byPath ?? (typeof misbehave === 'function' ? misbehave(number) : misbehave);
  }

  private async reply(query: Buffer, how: Misbehaviour | undefined): Promise<Buffer> {
    let request: ParsedRequest;
    try {
      request = readRequest(query);
    } catch {
      return refuse(2, 'not a request', FAILURE.badDataFormat);
    }
    if (!isKnownImprint(request)) return refuse(2, 'unknown digest', FAILURE.badAlgorithm);
    const time = this.options.now?.() ?? new Date();
    const contents = { request, time, identity: this.identity };
    return grant(makeToken(how === undefined ? contents : await this.misbehaver.distort(contents, how)));
  }
}

async function closeServer(server: Server): Promise<void> {
  const closed = once(server, 'close');
  server.close();
  server.closeAllConnections();
  await closed;
}

/** Starts an authority on a free port of 127.0.0.1. It keeps idle connections open for five seconds. */
export async function startTimestampAuthority(
  options: TimestampAuthorityOptions = {},
): Promise<RunningAuthority> {
  const issuer =
    options.issuer ??
    (await createTestCertificate({ commonName: 'Test timestamp root', purpose: 'authority' }));
  const identity =
    options.identity ??
    (await createTestCertificate({
      commonName: 'Test timestamp authority',
      purpose: 'timestamping',
      issuer,
      key: options.key,
    }));
  const authority = new TimestampServer(identity, issuer, options);
  const server = createServer((request, response) => {
    authority.serve(request, response).catch(() => response.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string')
    throw new SignpipeError('local', 'timestamp-listen', 'the test timestamp authority has no port');
  return {
    url: `http://127.0.0.1:${address.port}/`,
    identity,
    certificate: identity.certificate,
    root: identity.chain[identity.chain.length - 1] ?? identity.certificate,
    requests: authority.requests,
    close: () => closeServer(server),
  };
}

import type { IncomingMessage } from 'node:http';
import { readBody, readRetryAfter, sendRequest } from '../../../lib/http/exchange.ts';
import { openRequest, proxyFor, type Proxy } from '../../timestamp/transport/proxy.ts';
import { isLoopback } from '../cloud/uri-parts.ts';

/** In bytes. An answer with a signature and a chain of four has about twelve kilobytes. */
const MAX_ANSWER = 256 * 1024;

export interface RestRequest {
  readonly method: 'GET' | 'POST';
  /** A bearer token (RFC 6750). */
  readonly token: string;
  /** Sent as JSON. */
  readonly body?: unknown;
  readonly signal: AbortSignal;
  /** For opening a tunnel through a proxy, in milliseconds. */
  readonly timeoutMs: number;
}

export interface RestAnswer {
  readonly status: number;
  readonly retryAfterMs: number | undefined;
  /** The value of the header Operation-Location. */
  readonly operationLocation: string | undefined;
  /** The JSON of the answer; undefined if it is something else. */
  readonly body: unknown;
}

/** Without TLS, a proxy would read the token; a service on this machine is reached without one. */
const proxyOf = (url: URL): Proxy | undefined => (isLoopback(url.host) ? undefined : proxyFor(url.href));

function open(url: URL, { method, token, body, signal, timeoutMs }: RestRequest): Promise<IncomingMessage> {
  const content = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
  const headers = {
    authorization: `Bearer ${token}`,
    accept: 'application/json',
    'accept-encoding': 'identity',
    'user-agent': 'signpipe',
    ...(content && { 'content-type': 'application/json', 'content-length': String(content.length) }),
  };
  return sendRequest(openRequest(url, { method, headers, signal, timeoutMs }, proxyOf(url)), content);
}

/** The JSON of a body; undefined if it is something else, or larger than any that the service sends. */
function parseJson(body: Buffer | null): unknown {
  try {
    return body ? (JSON.parse(body.toString('utf8')) as unknown) : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Calls a REST interface once, through a proxy if the environment names one. Follows no redirect, since the token is for this
 * host alone. Rejects with Node's network errors, which hold no header, and with the reason of `signal`.
 */
export async function callRest(url: string, request: RestRequest): Promise<RestAnswer> {
  const response = await open(new URL(url), request);
  const { statusCode = 0, headers } = response;
  const location = headers['operation-location'];
  return {
    status: statusCode,
    retryAfterMs: readRetryAfter(headers['retry-after'], Date.now()),
    operationLocation: typeof location === 'string' ? location : undefined,
    body: parseJson(await readBody(response, MAX_ANSWER)),
  };
}

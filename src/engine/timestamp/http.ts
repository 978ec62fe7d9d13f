import type { IncomingMessage } from 'node:http';
import {
  invalid,
  messageOf,
  SignpipeError,
  unavailable,
  usage,
  type ErrorDetails,
} from '../../lib/errors.ts';
import { openRequest, proxyFor, type Proxy } from './proxy.ts';

/** A token with a long chain has some eight kilobytes. */
export const MAX_RESPONSE_SIZE = 256 * 1024;
const MOST_REDIRECTS = 3;

const QUERY = 'application/timestamp-query';

/** What authorities call an answer; some call it nothing (RFC 3161, 3.4, wants the first). */
const ANSWERS = new Set([
  'application/timestamp-reply',
  'application/timestamp-response',
  'application/octet-stream',
  'binary/octet-stream',
]);

/** An authority's address, its credentials set apart so that no message shows them. */
export interface Endpoint {
  /** Without user and password. */
  readonly url: string;
  /** Value of the Authorization header. */
  readonly authorization: string | undefined;
}

/** Throws `timestamp-url` unless it is an http or https address; credentials need https. */
export function parseEndpoint(text: string): Endpoint {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== 'http:' && url?.protocol !== 'https:')
    throw usage('timestamp-url', `not the http or https URL of a timestamp authority: ${text}`);
  const { username, password } = url;
  url.username = '';
  url.password = '';
  url.hash = '';
  if (username === '' && password === '') return { url: url.href, authorization: undefined };
  if (url.protocol === 'http:')
    throw usage('timestamp-url', `${url.href}: credentials would travel in the clear`, {
      hint: 'Use https, or leave user and password out',
    });
  const credentials = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return {
    url: url.href,
    authorization: `Basic ${Buffer.from(credentials, 'utf8').toString('base64')}`,
  };
}

/** An HTTP status other than 200: the authority is there and does not want to, now or at all. */
export class HttpStatusError extends SignpipeError {
  constructor(
    readonly status: number,
    /** What its Retry-After asks for, in milliseconds. */
    readonly retryAfterMs: number | undefined,
    what: string,
  ) {
    const wait = retryAfterMs === undefined ? '' : `, and asks to wait ${Math.ceil(retryAfterMs / 1000)} s`;
    super('unavailable', 'timestamp-http', `${what}: answered HTTP ${status}${wait}`);
  }
}

/** Retry-After in milliseconds from now: seconds, or a date (RFC 9110, 10.2.3). */
export function readRetryAfter(value: string | undefined, now: number): number | undefined {
  if (value === undefined) return undefined;
  const text = value.trim();
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1000;
  const date = /^[A-Z][a-z]{2}, /.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}

/** Where a redirect leads; throws `timestamp-redirect` when that is no place to follow to. */
function redirected(from: string, { statusCode, headers: { location = '' } }: IncomingMessage): string {
  const to = URL.canParse(location, from) ? new URL(location, from) : undefined;
  const refuse = (why: string): SignpipeError =>
    unavailable('timestamp-redirect', `${from}: redirects ${why}`, {
      hint: "Write the authority's present address into the configuration",
    });
  if (!to || statusCode === 303) throw refuse('without saying where a request may be repeated');
  if (to.protocol !== 'https:' && to.protocol !== 'http:') throw refuse(`to ${to.protocol}`);
  if (to.protocol === 'http:' && from.startsWith('https:')) throw refuse('from https to http');
  if (to.username !== '' || to.password !== '') throw refuse('to an address with credentials');
  return to.href;
}

const REDIRECTS = new Set([301, 302, 303, 307, 308]);

/** One POST, wherever it goes. */
interface Posting {
  readonly headers: Record<string, string>;
  readonly query: Buffer;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** Sends one POST. No redirect is followed. Gives back the answer once its headers are there. */
function send(url: URL, { query, ...how }: Posting, proxy: Proxy | undefined): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const outgoing = openRequest(url, { method: 'POST', ...how }, proxy);
    // Errors after the answer began are the reader's: it sees them in the body.
    outgoing.once('response', resolve).on('error', reject);
    // What is no answer, such as a switch to another protocol, ends in this alone.
    outgoing.once('close', () => reject(new Error('the connection ended without an answer')));
    outgoing.end(query);
  });
}

/** What hpagent says when a proxy opens no tunnel. */
const NO_TUNNEL = /^Bad response: (\d{3})$/;

/** A proxy that answers itself instead of bringing the request to the authority. */
function proxyRefusal(url: URL, { shown }: Proxy, status: number, cause?: unknown): SignpipeError {
  const why = status === 407 ? 'wants a user and password (HTTP 407)' : `opens no tunnel (HTTP ${status})`;
  return unavailable('timestamp-proxy', `${url.href}: the proxy ${shown} ${why}`, {
    cause,
    hint: 'check http_proxy, https_proxy and no_proxy; a user and password stand in the URL: http://USER:PASSWORD@HOST:PORT',
  });
}

/** Sends one POST, through a proxy if the environment names one, which errors on the way then name. */
async function sendByWay(url: URL, posting: Posting): Promise<IncomingMessage> {
  const proxy = proxyFor(url.href);
  if (!proxy) return send(url, posting, proxy);
  const response = await send(url, posting, proxy).catch((error: unknown) => {
    if (posting.signal.aborted) throw error;
    const status = NO_TUNNEL.exec(messageOf(error))?.[1];
    if (status !== undefined) throw proxyRefusal(url, proxy, Number(status), error);
    const way = `${url.href} through the proxy ${proxy.shown}`;
    throw unavailable('timestamp-connection', `${way}: ${networkReason(error)}`, { cause: error });
  });
  if (response.statusCode !== 407) return response;
  response.destroy();
  throw proxyRefusal(url, proxy, 407);
}

async function post(endpoint: Endpoint, posting: Omit<Posting, 'headers'>): Promise<IncomingMessage> {
  let at = endpoint.url;
  for (let hops = 0; hops <= MOST_REDIRECTS; hops += 1) {
    const url = new URL(at);
    const sameOrigin = url.origin === new URL(endpoint.url).origin;
    const headers: Record<string, string> = { 'content-type': QUERY, accept: 'application/timestamp-reply' };
    headers['accept-encoding'] = 'identity';
    headers['content-length'] = String(posting.query.length);
    // Some firewalls turn away who has no name.
    headers['user-agent'] = 'signpipe';
    if (endpoint.authorization !== undefined && sameOrigin) headers['authorization'] = endpoint.authorization;
    const response = await sendByWay(url, { ...posting, headers });
    if (!REDIRECTS.has(response.statusCode ?? 0)) return response;
    response.destroy();
    at = redirected(at, response);
  }
  throw unavailable('timestamp-redirect', `${endpoint.url}: redirects more than ${MOST_REDIRECTS} times`);
}

/** The whole body, at most MAX_RESPONSE_SIZE bytes; throws `timestamp-too-large`. */
async function readBody(response: IncomingMessage, what: string): Promise<Buffer> {
  const parts: Buffer[] = [];
  let size = 0;
  // Leaving the loop by an error ends the connection.
  for await (const part of response as AsyncIterable<Buffer>) {
    size += part.length;
    if (size > MAX_RESPONSE_SIZE)
      throw invalid('timestamp-too-large', `${what}: answered more than ${MAX_RESPONSE_SIZE} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts);
}

function checkType({ headers }: IncomingMessage, what: string): void {
  const type = headers['content-type']?.split(';', 1)[0]?.trim().toLowerCase() ?? '';
  if (type === '' || ANSWERS.has(type)) return;
  const shown = /^[\w.+-]{1,60}\/[\w.+-]{1,60}$/.test(type) ? type : 'of an unreadable type';
  throw invalid('timestamp-content-type', `${what}: answered with ${shown} instead of a timestamp`, {
    hint: 'A proxy or a login page may stand in between',
  });
}

/** A host with several addresses gives a reason for each of them; the first will do. */
const networkReason = (error: unknown): string =>
  messageOf(error instanceof AggregateError && error.errors.length > 0 ? error.errors[0] : error);

/** What the network did to the request, in our words. */
function asUnavailable(error: unknown, what: string, timedOut: boolean, timeoutMs: number): unknown {
  if (error instanceof SignpipeError) return error;
  const details: ErrorDetails = { cause: error };
  if (timedOut)
    return unavailable('timestamp-timeout', `${what}: no answer within ${timeoutMs / 1000} s`, details);
  return unavailable('timestamp-connection', `${what}: ${networkReason(error)}`, details);
}

/** The bytes of an answer that is one; any other response ends with its connection. */
async function answerIn(response: IncomingMessage, what: string): Promise<Buffer> {
  const { statusCode = 0, headers } = response;
  try {
    if (statusCode !== 200)
      throw new HttpStatusError(statusCode, readRetryAfter(headers['retry-after'], Date.now()), what);
    checkType(response, what);
    return await readBody(response, what);
  } catch (error) {
    response.destroy();
    throw error;
  }
}

/**
 * Sends one request (RFC 3161, 3.4) and gives back the answer's bytes, unread.
 *
 * Throws `timestamp-timeout`, `timestamp-connection`, `timestamp-redirect`, `timestamp-http` (an
 * HttpStatusError), `timestamp-content-type`, `timestamp-too-large`.
 */
export async function postTimestampQuery(
  endpoint: Endpoint,
  query: Buffer,
  timeoutMs: number,
  stop?: AbortSignal,
): Promise<Buffer> {
  const what = endpoint.url;
  const timeout = AbortSignal.timeout(timeoutMs);
  try {
    const signal = stop ? AbortSignal.any([timeout, stop]) : timeout;
    const response = await post(endpoint, { query, timeoutMs, signal });
    return await answerIn(response, what);
  } catch (error) {
    // Whoever says stop gets its own reason back.
    stop?.throwIfAborted();
    throw asUnavailable(error, what, timeout.aborted, timeoutMs);
  }
}

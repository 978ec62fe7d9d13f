import type { IncomingMessage } from 'node:http';
import { invalid, SignpipeError, unavailable, usage, type ErrorDetails } from '../../../lib/errors.ts';
import { readBody, readRetryAfter } from '../../../lib/http/exchange.ts';
import { basicAuthorization } from './proxy.ts';
import { networkReason, sendDirectly, type PostRequest, type SendPost } from './send-post.ts';

/** In bytes. A token with a long chain has about eight kilobytes. */
export const MAX_RESPONSE_SIZE = 256 * 1024;
const MAX_REDIRECTS = 3;

const QUERY = 'application/timestamp-query';

/** The content types of responses. RFC 3161 (3.4) requires the first; some authorities send none. */
const RESPONSE_TYPES = new Set([
  'application/timestamp-reply',
  'application/timestamp-response',
  'application/octet-stream',
  'binary/octet-stream',
]);

/** The address of an authority. Its credentials are kept apart, so that no message shows them. */
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
  const authorization = basicAuthorization(url);
  url.username = '';
  url.password = '';
  url.hash = '';
  if (authorization !== undefined && url.protocol === 'http:')
    throw usage('timestamp-url', `${url.href}: credentials would be sent unencrypted`, {
      hint: 'use https, or leave out user and password',
    });
  return { url: url.href, authorization };
}

/** The authority answered with an HTTP status other than 200. */
export class HttpStatusError extends SignpipeError {
  constructor(
    readonly status: number,
    /** The Retry-After of the response, in milliseconds from then. */
    readonly retryAfterMs: number | undefined,
    what: string,
  ) {
    const wait = retryAfterMs === undefined ? '' : `, and asks to wait ${Math.ceil(retryAfterMs / 1000)} s`;
    super('unavailable', 'timestamp-http', `${what}: answered HTTP ${status}${wait}`);
  }
}

/** The URL that a redirect names. Throws `timestamp-redirect` if it must not be followed. */
function redirectTarget(from: string, { statusCode, headers: { location = '' } }: IncomingMessage): string {
  const to = URL.canParse(location, from) ? new URL(location, from) : undefined;
  const refuse = (why: string): SignpipeError =>
    unavailable('timestamp-redirect', `${from}: redirects ${why}`, {
      hint: "put the authority's current address into the configuration",
    });
  if (!to || statusCode === 303) throw refuse('without saying where a request may be repeated');
  if (to.protocol !== 'https:' && to.protocol !== 'http:') throw refuse(`to ${to.protocol}`);
  if (to.protocol === 'http:' && from.startsWith('https:')) throw refuse('from https to http');
  if (to.username !== '' || to.password !== '') throw refuse('to an address with credentials');
  return to.href;
}

const REDIRECTS = new Set([301, 302, 303, 307, 308]);

async function postFollowingRedirects(
  endpoint: Endpoint,
  request: Omit<PostRequest, 'headers'>,
  sendPost: SendPost,
): Promise<IncomingMessage> {
  let at = endpoint.url;
  for (let hops = 0; hops <= MAX_REDIRECTS; hops += 1) {
    const url = new URL(at);
    const sameOrigin = url.origin === new URL(endpoint.url).origin;
    const headers: Record<string, string> = { 'content-type': QUERY, accept: 'application/timestamp-reply' };
    headers['accept-encoding'] = 'identity';
    headers['content-length'] = String(request.query.length);
    // Some firewalls reject requests without a user agent.
    headers['user-agent'] = 'signpipe';
    if (endpoint.authorization !== undefined && sameOrigin) headers['authorization'] = endpoint.authorization;
    const response = await sendPost(url, { ...request, headers });
    if (!REDIRECTS.has(response.statusCode ?? 0)) return response;
    response.destroy();
    at = redirectTarget(at, response);
  }
  throw unavailable('timestamp-redirect', `${endpoint.url}: redirects more than ${MAX_REDIRECTS} times`);
}

/** Reads the whole body. Throws `timestamp-too-large` if it has more than MAX_RESPONSE_SIZE bytes. */
async function readAnswer(response: IncomingMessage, what: string): Promise<Buffer> {
  const body = await readBody(response, MAX_RESPONSE_SIZE);
  if (body) return body;
  throw invalid('timestamp-too-large', `${what}: answered more than ${MAX_RESPONSE_SIZE} bytes`);
}

function checkType({ headers }: IncomingMessage, what: string): void {
  const type = headers['content-type']?.split(';', 1)[0]?.trim().toLowerCase() ?? '';
  if (type === '' || RESPONSE_TYPES.has(type)) return;
  const shown = /^[\w.+-]{1,60}\/[\w.+-]{1,60}$/.test(type) ? type : 'of an unreadable type';
  throw invalid('timestamp-content-type', `${what}: answered with ${shown} instead of a timestamp`, {
    hint: 'a proxy or a login page may have answered instead',
  });
}

/** Maps an error of the network to `timestamp-timeout` or `timestamp-connection`. */
function networkError(error: unknown, what: string, timedOut: boolean, timeoutMs: number): unknown {
  if (error instanceof SignpipeError) return error;
  const details: ErrorDetails = { cause: error };
  if (timedOut)
    return unavailable('timestamp-timeout', `${what}: no answer within ${timeoutMs / 1000} s`, details);
  return unavailable('timestamp-connection', `${what}: ${networkReason(error)}`, details);
}

/** Returns the body of a timestamp response. Any other response is an error, and its connection is closed. */
async function readResponse(response: IncomingMessage, what: string): Promise<Buffer> {
  const { statusCode = 0, headers } = response;
  try {
    if (statusCode !== 200)
      throw new HttpStatusError(statusCode, readRetryAfter(headers['retry-after'], Date.now()), what);
    checkType(response, what);
    return await readAnswer(response, what);
  } catch (error) {
    response.destroy();
    throw error;
  }
}

/**
 * Sends a TimeStampReq and returns the bytes of the response (RFC 3161, 3.4).
 *
 * Throws `timestamp-timeout`, `timestamp-connection`, `timestamp-redirect`, `timestamp-http` (an
 * HttpStatusError), `timestamp-content-type`, `timestamp-too-large`.
 */
export async function postTimestampQuery(
  endpoint: Endpoint,
  query: Buffer,
  timeoutMs: number,
  abort?: AbortSignal,
  sendPost: SendPost = sendDirectly,
): Promise<Buffer> {
  const what = endpoint.url;
  const timeout = AbortSignal.timeout(timeoutMs);
  try {
    const signal = abort ? AbortSignal.any([timeout, abort]) : timeout;
    const response = await postFollowingRedirects(endpoint, { query, timeoutMs, signal }, sendPost);
    return await readResponse(response, what);
  } catch (error) {
    // An abort throws its own reason.
    abort?.throwIfAborted();
    throw networkError(error, what, timeout.aborted, timeoutMs);
  }
}

import type { ClientRequest, IncomingMessage } from 'node:http';
import { messageOf, unavailable, type SignpipeError } from '../../../lib/errors.ts';
import { sendRequest } from '../../../lib/http/exchange.ts';
import { openRequest, proxyFor, type Proxy, type RequestOptions } from './proxy.ts';

/** A POST request without its URL. */
export interface PostRequest {
  readonly headers: Record<string, string>;
  readonly query: Buffer;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** Sends a request and resolves to the response when its headers are there. Follows no redirect. */
export type SendPost = (url: URL, request: PostRequest) => Promise<IncomingMessage>;

/** Sends a request that `open` opens. */
export async function sendWith(
  open: (url: URL, options: RequestOptions) => ClientRequest,
  url: URL,
  { query, ...how }: PostRequest,
): Promise<IncomingMessage> {
  return sendRequest(open(url, { method: 'POST', ...how }), query);
}

/** If a host has several addresses, Node reports an error for each; the first is enough. */
export const networkReason = (error: unknown): string =>
  messageOf(error instanceof AggregateError && error.errors.length > 0 ? error.errors[0] : error);

/** hpagent's message if a proxy opens no tunnel. */
const NO_TUNNEL = /^Bad response: (\d{3})$/;

/** The error if a proxy answers itself instead of forwarding the request to the authority. */
function proxyError(url: URL, { shown }: Proxy, status: number, cause?: unknown): SignpipeError {
  const why = status === 407 ? 'requires a user and password (HTTP 407)' : `opens no tunnel (HTTP ${status})`;
  return unavailable('timestamp-proxy', `${url.href}: the proxy ${shown} ${why}`, {
    cause,
    hint: 'check http_proxy, https_proxy and no_proxy; put a user and password into the URL: http://USER:PASSWORD@HOST:PORT',
  });
}

/** Sends a request from this machine, through a proxy if the environment names one; errors then name the proxy. */
export const sendDirectly: SendPost = async (url, request) => {
  const proxy = proxyFor(url.href);
  const open = (to: URL, options: RequestOptions): ClientRequest => openRequest(to, options, proxy);
  if (!proxy) return sendWith(open, url, request);
  const response = await sendWith(open, url, request).catch((error: unknown) => {
    if (request.signal.aborted) throw error;
    const status = NO_TUNNEL.exec(messageOf(error))?.[1];
    if (status !== undefined) throw proxyError(url, proxy, Number(status), error);
    const route = `${url.href} through the proxy ${proxy.shown}`;
    throw unavailable('timestamp-connection', `${route}: ${networkReason(error)}`, { cause: error });
  });
  if (response.statusCode !== 407) return response;
  response.destroy();
  throw proxyError(url, proxy, 407);
};

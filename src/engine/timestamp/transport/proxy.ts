import { Agent, request, type ClientRequest } from 'node:http';
import { Agent as TlsAgent, request as requestByTls } from 'node:https';
import { HttpsProxyAgent } from 'hpagent';
import { getProxyForUrl } from 'proxy-from-env';
import { usage } from '../../../lib/errors.ts';

/** Decodes the percent escapes of a text; one that is not well formed stays as it is. */
function decodeEscapes(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** The value of an Authorization header with the user and password of a URL (RFC 7617); undefined if it has none. */
export function basicAuthorization({ username, password }: URL): string | undefined {
  if (username === '' && password === '') return undefined;
  const credentials = `${decodeEscapes(username)}:${decodeEscapes(password)}`;
  return `Basic ${Buffer.from(credentials, 'utf8').toString('base64')}`;
}

/** A proxy that the environment names. */
export interface Proxy {
  /** With user and password: must not be shown. */
  readonly url: URL;
  /** The URL without user and password. */
  readonly shown: string;
  /** Value of the Proxy-Authorization header. */
  readonly authorization: string | undefined;
}

/**
 * The proxy that the environment names for `target`: `http_proxy`, `https_proxy` or `all_proxy`, unless `no_proxy`
 * lists its host; lower case before upper case. Throws `timestamp-proxy` (usage) if that is not an http or https URL.
 */
export function proxyFor(target: string): Proxy | undefined {
  const text = getProxyForUrl(target);
  if (text === '') return undefined;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== 'http:' && url?.protocol !== 'https:')
    // The value is not shown, since it may hold a password.
    throw usage(
      'timestamp-proxy',
      `${target}: the proxy that the environment names is not an http or https URL`,
      { hint: 'check http_proxy, https_proxy and all_proxy, or list the authority in no_proxy' },
    );
  return { url, shown: `${url.protocol}//${url.host}/`, authorization: basicAuthorization(url) };
}

/** The options of a request. */
export interface RequestOptions {
  readonly method: 'GET' | 'POST';
  readonly headers: Record<string, string>;
  /** For opening a tunnel, in milliseconds. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** How long an idle connection is kept open, in milliseconds, unless the authority names a shorter time. */
export const KEEP_ALIVE = { keepAlive: true, timeout: 4000 };
const agent = new Agent(KEEP_ALIVE);
const tlsAgent = new TlsAgent(KEEP_ALIVE);

const tunnels = new Map<string, HttpsProxyAgent>();

/** Returns the agent for tunnels through a proxy. `timeout` (ms) limits both opening a tunnel and its idle time. */
function tunnelAgent({ url }: Proxy, timeout: number): HttpsProxyAgent {
  const name = `${timeout} ${url.href}`;
  const existingTunnel = tunnels.get(name);
  if (existingTunnel) return existingTunnel;
  const tunnel = new HttpsProxyAgent({ keepAlive: true, timeout, proxy: url });
  tunnels.set(name, tunnel);
  return tunnel;
}

/**
 * Opens a plain http request through a proxy in absolute form (RFC 9112, 3.2.2): it needs no tunnel, and many
 * proxies open none to port 80.
 */
function requestViaProxy(
  url: URL,
  { method, headers: own, signal }: RequestOptions,
  { url: proxy, authorization }: Proxy,
): ClientRequest {
  const headers = { ...own, host: url.host };
  const absolute = {
    method,
    signal,
    headers: authorization === undefined ? headers : { ...headers, 'proxy-authorization': authorization },
    hostname: proxy.hostname.replace(/^\[|\]$/g, ''),
    port: proxy.port,
    path: url.href,
  };
  return proxy.protocol === 'https:'
    ? requestByTls({ ...absolute, agent: tlsAgent })
    : request({ ...absolute, agent });
}

/** Opens a request, directly or through a proxy. Uses node:http only for speed: `fetch` takes 90 ms to load. */
export function openRequest(url: URL, options: RequestOptions, proxy: Proxy | undefined): ClientRequest {
  const { timeoutMs, ...rest } = options;
  if (url.protocol === 'https:')
    return requestByTls(url, { ...rest, agent: proxy ? tunnelAgent(proxy, timeoutMs) : tlsAgent });
  return proxy ? requestViaProxy(url, options, proxy) : request(url, { ...rest, agent });
}

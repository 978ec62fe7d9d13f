import { Agent, request, type ClientRequest } from 'node:http';
import { Agent as TlsAgent, request as requestByTls } from 'node:https';
import { HttpsProxyAgent } from 'hpagent';
import { getProxyForUrl } from 'proxy-from-env';
import { usage } from '../../lib/errors.ts';

/** A proxy that the environment names. */
export interface Proxy {
  /** With user and password: never to be shown. */
  readonly url: URL;
  /** Without them. */
  readonly shown: string;
  /** Value of the Proxy-Authorization header. */
  readonly authorization: string | undefined;
}

/**
 * The proxy through which `target` is reached: `http_proxy`, `https_proxy` or `all_proxy`, unless `no_proxy` lists
 * its host; lower case before upper case. Throws `timestamp-proxy` (usage) if that is no http or https URL.
 */
export function proxyFor(target: string): Proxy | undefined {
  const text = getProxyForUrl(target);
  if (text === '') return undefined;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== 'http:' && url?.protocol !== 'https:')
    // The text may hold a password.
    throw usage(
      'timestamp-proxy',
      `${target}: the proxy that the environment names is no http or https URL`,
      {
        hint: 'look at http_proxy, https_proxy and all_proxy, or list the authority in no_proxy',
      },
    );
  const { username, password } = url;
  const credentials = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  const authorization =
    username === '' && password === ''
      ? undefined
      : `Basic ${Buffer.from(credentials, 'utf8').toString('base64')}`;
  return { url, shown: `${url.protocol}//${url.host}/`, authorization };
}

/** What a request asks of either kind of client. */
export interface Outgoing {
  readonly method: 'POST';
  readonly headers: Record<string, string>;
  /** For opening a tunnel, in milliseconds. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** How long an idle connection is kept, in milliseconds, unless the authority says less. */
const KEPT = { keepAlive: true, timeout: 4000 };
const agent = new Agent(KEPT);
const tlsAgent = new TlsAgent(KEPT);

const tunnels = new Map<string, HttpsProxyAgent>();

/** A tunnel that is not open within `timeout` ms is given up; an idle one is kept as long. */
function tunnelThrough({ url }: Proxy, timeout: number): HttpsProxyAgent {
  const name = `${timeout} ${url.href}`;
  const known = tunnels.get(name);
  if (known) return known;
  const made = new HttpsProxyAgent({ keepAlive: true, timeout, proxy: url });
  tunnels.set(name, made);
  return made;
}

/** In absolute form (RFC 9112, 3.2.2): plain http needs no tunnel, and many proxies open none to port 80. */
function throughProxy(
  url: URL,
  { method, headers: own, signal }: Outgoing,
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

/** A request that is about to be sent, directly or through a proxy: Node's plain client, `fetch` takes 90 ms to load. */
export function openRequest(url: URL, outgoing: Outgoing, proxy: Proxy | undefined): ClientRequest {
  const { timeoutMs, ...options } = outgoing;
  if (url.protocol === 'https:')
    return requestByTls(url, { ...options, agent: proxy ? tunnelThrough(proxy, timeoutMs) : tlsAgent });
  return proxy ? throughProxy(url, outgoing, proxy) : request(url, { ...options, agent });
}

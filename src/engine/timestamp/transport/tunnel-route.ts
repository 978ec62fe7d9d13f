import { Agent, request, type ClientRequest, type ClientRequestArgs } from 'node:http';
import {
  Agent as TlsAgent,
  request as requestByTls,
  type RequestOptions as TlsRequestOptions,
} from 'node:https';
import type { Duplex } from 'node:stream';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';
import { callbackify } from 'node:util';
import { KEEP_ALIVE, type RequestOptions } from './proxy.ts';
import { sendWith, type SendPost } from './send-post.ts';

/** Opens a connection to a host and port through another machine. Throws SignpipeErrors. */
export type Dial = (host: string, port: number) => Promise<Duplex>;

type OnSocket = (error: Error | null, socket: Duplex) => void;

/** Dials the host and port that an agent has set, and calls back with what `use` makes of the connection. */
const dialFor = callbackify(
  async (dial: Dial, { host, port }: ClientRequestArgs, use: (socket: Duplex) => Duplex): Promise<Duplex> =>
    use(await dial(host ?? '', Number(port))),
);

class TunnelAgent extends Agent {
  constructor(private readonly dial: Dial) {
    super(KEEP_ALIVE);
  }

  override createConnection(options: ClientRequestArgs, done: OnSocket = () => {}): undefined {
    dialFor(this.dial, options, (socket) => socket, done);
  }
}

/** TLS ends at the authority, whose certificate must have the name in the URL: the machine between sees no content. */
class TunnelTlsAgent extends TlsAgent {
  constructor(private readonly dial: Dial) {
    super(KEEP_ALIVE);
  }

  override createConnection(options: TlsRequestOptions, done: OnSocket = () => {}): undefined {
    // The agent has set the server name.
    dialFor(this.dial, options, (socket) => connectTls({ ...(options as ConnectionOptions), socket }), done);
  }
}

/** A route through another machine. It uses no proxy, follows redirects by the same way, and reuses connections. */
export function tunnelRoute(dial: Dial): SendPost {
  const agent = new TunnelAgent(dial);
  const tlsAgent = new TunnelTlsAgent(dial);
  const open = (url: URL, { method, headers, signal }: RequestOptions): ClientRequest =>
    url.protocol === 'https:'
      ? requestByTls(url, { method, headers, signal, agent: tlsAgent })
      : request(url, { method, headers, signal, agent });
  return (url, post) => sendWith(open, url, post);
}

import type { Client, ClientChannel } from 'ssh2';
import { messageOf, SignpipeError, unavailable } from '../errors.ts';
import { connectSsh } from '../ssh/connection.ts';
import { KeptConnection } from '../ssh/kept-connection.ts';
import { parseSshUrl } from '../ssh/url.ts';
import type { SshOptions } from '../ssh/options.ts';
import { shellQuote } from '../ssh/quote.ts';
import { BRANCHES, otherObjectFormat, RefsConversation } from './ls-refs.ts';

/** How long one listing may take, in milliseconds. */
const LIST_MS = 30_000;

/** Requests protocol v2 as git does; a host that does not accept the variable answers in v0. */
const ENVIRONMENT = { env: { GIT_PROTOCOL: 'version=2' } };

/**
 * Lists the branches of a remote repository, or other refs with a common prefix, over one SSH connection that stays
 * open. Only for speed: a listing runs one `git-upload-pack` on the host and no process here. After a lost connection
 * the next listing connects again.
 */
export class RemoteHeads {
  private readonly connection: KeptConnection;

  constructor(
    private readonly url: string,
    options: SshOptions,
    private readonly prefix = BRANCHES,
  ) {
    this.connection = new KeptConnection(async () => connectSsh(parseSshUrl(url), options));
  }

  /**
   * The refs, without the prefix, with their commits; `below` narrows the listing, on the host, to those that then begin
   * with one of these. Throws `unavailable` errors, and those of `connectSsh`.
   */
  async list(below?: readonly string[]): Promise<Map<string, string>> {
    const client = await this.connection.get();
    try {
      return await this.ask(client, below);
    } catch (error) {
      this.connection.drop(client);
      throw error;
    }
  }

  /** Begins to connect, so that the first listing need not wait; it reports any error. */
  connect(): void {
    this.connection.get().catch(() => {});
  }

  close(): void {
    this.connection.close();
  }

  /** One listing. After any error the connection is not used again. */
  private async ask(client: Client, below: readonly string[] | undefined): Promise<Map<string, string>> {
    const command = `git-upload-pack ${shellQuote(parseSshUrl(this.url).path)}`;
    const limit = new AbortController();
    const timer = setTimeout(() => limit.abort(new Error(`no answer in ${LIST_MS / 1000} s`)), LIST_MS);
    const lost = (): void => limit.abort(new Error('the connection was lost'));
    client.once('close', lost);
    try {
      return await converse(client, command, limit.signal, { url: this.url, prefix: this.prefix, below });
    } catch (cause) {
      if (cause instanceof SignpipeError && cause.kind === 'usage') throw cause;
      throw unavailable('git-unreachable', `the Git host does not list its branches: ${messageOf(cause)}`, {
        cause,
        hint: 'does the repository exist, and may this key read it?',
      });
    } finally {
      clearTimeout(timer);
      client.removeListener('close', lost);
    }
  }
}

/** A repository, for messages, and the refs to list. */
interface Remote {
  readonly url: string;
  readonly prefix: string;
  readonly below: readonly string[] | undefined;
}

/** Runs `git-upload-pack` and converses with it until it has listed its branches. */
function converse(
  client: Client,
  command: string,
  signal: AbortSignal,
  remote: Remote,
): Promise<Map<string, string>> {
  return new Promise((resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
    client.exec(command, ENVIRONMENT, (error, channel) => {
      if (error) reject(error);
      else listen(channel, remote, resolve, reject);
    });
  });
}

/** Adds the listeners at once: a short answer, its status and its end may arrive in one packet. */
function listen(
  channel: ClientChannel,
  { url, prefix, below }: Remote,
  resolve: (heads: Map<string, string>) => void,
  reject: (error: unknown) => void,
): void {
  const conversation = new RefsConversation(prefix, below);
  channel.on('data', (bytes: Buffer) => {
    try {
      const reply = conversation.receive(bytes);
      if (conversation.hasOtherFormat) throw otherObjectFormat(url);
      if (reply) channel.write(reply);
      if (!conversation.result) return;
      channel.end();
      resolve(conversation.result);
    } catch (error) {
      channel.close();
      reject(error);
    }
  });
  channel.stderr.resume();
  channel.on('error', reject);
  channel.on('close', () => {
    if (!conversation.result) reject(new Error('it ended before it listed them'));
  });
}

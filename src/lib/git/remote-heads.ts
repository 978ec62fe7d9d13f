import type { Client, ClientChannel } from 'ssh2';
import { messageOf, SignpipeError, unavailable } from '../errors.ts';
import { connectSsh } from '../ssh/connection.ts';
import { parseSshUrl } from '../ssh/url.ts';
import type { SshOptions } from '../ssh/options.ts';
import { shellQuote } from '../ssh/quote.ts';
import { otherObjectFormat, RefsConversation } from './ls-refs.ts';

/** How long one look may take, in milliseconds. */
const LOOK_MS = 30_000;

/** Protocol v2 is asked for as git does; a host that does not pass the variable on answers in v0. */
const ENVIRONMENT = { env: { GIT_PROTOCOL: 'version=2' } };

/**
 * Where a remote repository's branches stand, over one SSH connection that is kept open: a look
 * costs one `git-upload-pack` on the host and no process here. A connection that was cut is made
 * anew at the next look.
 */
export class RemoteHeads {
  private client: Promise<Client> | null = null;

  constructor(
    private readonly url: string,
    private readonly options: SshOptions,
  ) {}

  /** Branch names with their commits. Throws `unavailable` errors, and those of `connectSsh`. */
  async list(): Promise<Map<string, string>> {
    const client = await this.connection();
    try {
      return await this.ask(client);
    } catch (error) {
      this.drop(client);
      throw error;
    }
  }

  /** Begins to connect, so that the first look need not wait; what goes wrong is told there. */
  connect(): void {
    this.connection().catch(() => {});
  }

  close(): void {
    const { client } = this;
    this.client = null;
    client?.then(
      (open) => open.end(),
      () => {},
    );
  }

  private connection(): Promise<Client> {
    if (this.client) return this.client;
    const opening = this.open();
    this.client = opening;
    // A failed attempt is not kept: the next look tries again.
    opening.catch(() => {
      if (this.client === opening) this.client = null;
    });
    return opening;
  }

  private async open(): Promise<Client> {
    const client = await connectSsh(parseSshUrl(this.url), this.options);
    client.once('close', () => (this.client = null));
    return client;
  }

  private drop(client: Client): void {
    this.client = null;
    client.destroy();
  }

  /** One look. Whatever goes wrong in it, the connection is not trusted again. */
  private async ask(client: Client): Promise<Map<string, string>> {
    const command = `git-upload-pack ${shellQuote(parseSshUrl(this.url).path)}`;
    const limit = new AbortController();
    const timer = setTimeout(() => limit.abort(new Error(`no answer in ${LOOK_MS / 1000} s`)), LOOK_MS);
    const lost = (): void => limit.abort(new Error('the connection was lost'));
    client.once('close', lost);
    try {
      return await converse(client, command, limit.signal, this.url);
    } catch (cause) {
      if (cause instanceof SignpipeError && cause.kind === 'usage') throw cause;
      throw unavailable(
        'git-unreachable',
        `the Git host does not say where its branches stand: ${messageOf(cause)}`,
        {
          cause,
          hint: 'is the control repository there, and may this key read it?',
        },
      );
    } finally {
      clearTimeout(timer);
      client.removeListener('close', lost);
    }
  }
}

/** Runs `git-upload-pack` and talks with it until it has told its branches. */
function converse(
  client: Client,
  command: string,
  signal: AbortSignal,
  url: string,
): Promise<Map<string, string>> {
  return new Promise((resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
    client.exec(command, ENVIRONMENT, (error, channel) => {
      if (error) reject(error);
      else listen(channel, url, resolve, reject);
    });
  });
}

/** Listeners go on at once: a short answer, its status and its end may come in one packet. */
function listen(
  channel: ClientChannel,
  url: string,
  resolve: (heads: Map<string, string>) => void,
  reject: (error: unknown) => void,
): void {
  const conversation = new RefsConversation();
  channel.on('data', (bytes: Buffer) => {
    try {
      const reply = conversation.take(bytes);
      if (conversation.otherFormat) throw otherObjectFormat(url);
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
    if (!conversation.result) reject(new Error('it ended before it told them'));
  });
}

import type { Client } from 'ssh2';

/**
 * One SSH connection that stays open for all callers. After it was lost, or was dropped, the next caller gets a new
 * one.
 */
export class KeptConnection {
  private client: Promise<Client> | null = null;

  constructor(private readonly open: () => Promise<Client>) {}

  /** The open connection, or a new one; concurrent callers share one attempt. Throws what `open` throws. */
  get(): Promise<Client> {
    if (this.client) return this.client;
    const opening = this.open().then((client) => {
      client.once('close', () => this.forget(opening));
      return client;
    });
    this.client = opening;
    // A failed attempt is not kept: the next caller tries again.
    opening.catch(() => this.forget(opening));
    return opening;
  }

  /** Destroys a connection that cannot be trusted to answer. */
  drop(client: Client): void {
    this.client = null;
    client.destroy();
  }

  close(): void {
    const { client } = this;
    this.client = null;
    client?.then(
      (open) => open.end(),
      () => {},
    );
  }

  private forget(connection: Promise<Client>): void {
    if (this.client === connection) this.client = null;
  }
}

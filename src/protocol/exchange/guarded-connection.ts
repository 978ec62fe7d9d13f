import type { Client } from 'ssh2';
import { messageOf, type SignpipeError } from '../../lib/errors.ts';
import { withDeadline } from '../../lib/concurrency/deadline.ts';
import { connectionLost, stalled } from './exchange-errors.ts';
import type { Reconnectable } from './reconnecting-session.ts';

/** How long a regular disconnect may take before the connection is destroyed, in milliseconds. */
const DISCONNECT_MS = 2000;

/**
 * An exchange's SSH connection. Every wait for the server goes through `guard`, so that a cut connection or a server
 * that hangs ends it.
 */
export class GuardedConnection implements Reconnectable {
  private failure: SignpipeError | null = null;
  private readonly waits = new Set<(error: SignpipeError) => void>();

  constructor(
    readonly client: Client,
    /** The host, for messages. */
    readonly host: string,
    private readonly stallTimeoutMs: number,
  ) {
    client.on('error', (error: Error) => this.fail(connectionLost(host, messageOf(error))));
    client.on('close', () => this.fail(connectionLost(host, 'the host closed it')));
  }

  get alive(): boolean {
    return this.failure === null;
  }

  /** Why the connection was lost; null while it is alive. */
  get lost(): SignpipeError | null {
    return this.failure;
  }

  /** Ends every wait with `error` and destroys the connection. */
  fail(error: SignpipeError): void {
    if (this.failure) return;
    this.failure = error;
    for (const giveUp of this.waits) giveUp(error);
    this.client.destroy();
  }

  /**
   * Waits for `work` until the connection is lost or `ms` have passed. `Promise.race` against a single promise of
   * the loss would keep every result in memory until the connection ends.
   */
  guard<T>(work: Promise<T>, what: string, ms = this.stallTimeoutMs): Promise<T> {
    work.catch(() => {}); // After the wait was given up, its error has no reader.
    if (this.failure) return Promise.reject(this.failure);
    return new Promise<T>((resolve, reject) => {
      const timer = setTimeout(() => this.fail(stalled(this.host, what, ms)), ms);
      const settle = (): void => {
        clearTimeout(timer);
        this.waits.delete(giveUp);
      };
      // Clears the timer, since the work itself may never end without a connection.
      const giveUp = (error: SignpipeError): void => {
        settle();
        reject(error);
      };
      this.waits.add(giveUp);
      work.finally(settle).then(resolve, (error: unknown) => reject(this.failure ?? this.explain(error)));
    });
  }

  /** Maps ssh2's errors about a lost connection, which may reach a request before the connection's own event. */
  private explain(error: unknown): unknown {
    const text = messageOf(error);
    return /no response from server|not connected/i.test(text) ? connectionLost(this.host, text) : error;
  }

  async end(): Promise<void> {
    if (!this.alive) return;
    const closed = new Promise<void>((resolve) => this.client.once('close', () => resolve()));
    this.client.end();
    await withDeadline(closed, DISCONNECT_MS, () => {});
    this.fail(connectionLost(this.host, 'it was ended'));
  }
}

import type { Client } from 'ssh2';
import { messageOf, type SignpipeError } from '../../lib/errors.ts';
import { connectionLost, stalled } from './exchange-errors.ts';
import type { Session } from './reconnecting-session.ts';
import { withDeadline } from '../../lib/concurrency/deadline.ts';

/** How long a polite goodbye may take before the connection is torn down, in milliseconds. */
const GOODBYE_MS = 2000;

/**
 * One SSH connection under an exchange. Everything that waits for the other side waits through
 * `guard`, so that a cut connection or a server that hangs ends the wait.
 */
export class GuardedConnection implements Session {
  private failure: SignpipeError | null = null;
  private readonly waits = new Set<(error: SignpipeError) => void>();

  constructor(
    readonly client: Client,
    /** The host, for messages. */
    readonly where: string,
    private readonly stallTimeoutMs: number,
  ) {
    client.on('error', (error: Error) => this.fail(connectionLost(where, messageOf(error))));
    client.on('close', () => this.fail(connectionLost(where, 'the other side closed it')));
  }

  get alive(): boolean {
    return this.failure === null;
  }

  /** Why nothing more will come, when that is so. */
  get lost(): SignpipeError | null {
    return this.failure;
  }

  /** Ends every wait with `error` and tears the connection down. */
  fail(error: SignpipeError): void {
    if (this.failure) return;
    this.failure = error;
    for (const giveUp of this.waits) giveUp(error);
    this.client.destroy();
  }

  /**
   * Waits for `work`, at most until the connection is lost or `ms` pass without its end. Not
   * `Promise.race` against one promise of loss: that would hold every result until the connection ends.
   */
  guard<T>(work: Promise<T>, what: string, ms = this.stallTimeoutMs): Promise<T> {
    work.catch(() => {}); // When the wait is given up, nobody else hears of it.
    if (this.failure) return Promise.reject(this.failure);
    return new Promise<T>((resolve, reject) => {
      const timer = setTimeout(() => this.fail(stalled(this.where, what, ms)), ms);
      const settle = (): void => {
        clearTimeout(timer);
        this.waits.delete(giveUp);
      };
      // The work itself may never end once the connection is gone, so its timer ends here.
      const giveUp = (error: SignpipeError): void => {
        settle();
        reject(error);
      };
      this.waits.add(giveUp);
      work.finally(settle).then(resolve, (error: unknown) => reject(this.failure ?? this.explain(error)));
    });
  }

  /** ssh2 may tell a waiting request of the loss before it tells the connection. */
  private explain(error: unknown): unknown {
    const text = messageOf(error);
    return /no response from server|not connected/i.test(text) ? connectionLost(this.where, text) : error;
  }

  async end(): Promise<void> {
    if (!this.alive) return;
    const closed = new Promise<void>((resolve) => this.client.once('close', () => resolve()));
    this.client.end();
    await withDeadline(closed, GOODBYE_MS, () => {});
    this.fail(connectionLost(this.where, 'it was ended'));
  }
}

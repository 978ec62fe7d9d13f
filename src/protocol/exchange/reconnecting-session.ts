import { SignpipeError } from '../../lib/errors.ts';

/** A session that the server may cut. */
export interface Reconnectable {
  readonly alive: boolean;
  end(): Promise<void>;
}

/** Keeps one session for all callers, and opens a new one after a cut. */
export class ReconnectingSession<S extends Reconnectable> {
  private current: Promise<S> | null = null;
  private closed = false;

  constructor(private readonly open: () => Promise<S>) {}

  /** The open session, or a new one; concurrent callers share one attempt. */
  async get(): Promise<S> {
    const previous = this.current;
    const session = await previous?.catch(() => null);
    if (session?.alive) return session;
    if (this.closed) throw new SignpipeError('local', 'exchange-closed', 'the exchange was closed');
    // Unless another caller has opened one in the meantime.
    if (this.current === previous) this.current = this.open();
    return this.current ?? this.get();
  }

  async close(): Promise<void> {
    this.closed = true;
    const session = await this.current?.catch(() => null);
    this.current = null;
    await session?.end();
  }
}

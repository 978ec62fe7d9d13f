import { SignpipeError } from '../../lib/errors.ts';

/** Something that was opened, and may be cut by the other side. */
export interface Session {
  readonly alive: boolean;
  end(): Promise<void>;
}

/** Keeps one session for all callers, and opens another when it was cut. */
export class ReconnectingSession<S extends Session> {
  private current: Promise<S> | null = null;
  private closed = false;

  constructor(private readonly open: () => Promise<S>) {}

  /** The session that is open, or a new one; callers that come together share one attempt. */
  async get(): Promise<S> {
    const seen = this.current;
    const session = await seen?.catch(() => null);
    if (session?.alive) return session;
    if (this.closed) throw new SignpipeError('local', 'exchange-closed', 'the exchange was closed');
    // Another caller may have been here while this one waited.
    if (this.current === seen) this.current = this.open();
    return this.current ?? this.get();
  }

  async close(): Promise<void> {
    this.closed = true;
    const session = await this.current?.catch(() => null);
    this.current = null;
    await session?.end();
  }
}

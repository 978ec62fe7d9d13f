import { setTimeout as sleep } from 'node:timers/promises';
import type { KeySettings } from '../../../engine/keys/open.ts';
import { messageOf, SignpipeError, usage } from '../../../lib/errors.ts';
import type { ChannelKey } from './channel-key.ts';

/** How long a poll waits for one attempt, in ms: a token that hangs must not hold up the other channels. */
const PATIENCE = 5000;

/** Kinds of keys whose opening gives a PIN to a token, or makes a signature that is paid for. */
const COSTLY = /^(?:pkcs11|artifactsigning):/i;

interface KeyOpenerOptions {
  readonly settings: KeySettings;
  readonly open: (settings: KeySettings) => Promise<ChannelKey>;
  readonly onOpened?: (key: ChannelKey) => void;
  /** Called once for each different problem. */
  readonly onProblem: (problem: SignpipeError) => void;
  /** A monotonic clock, in ms. */
  readonly clock: () => number;
}

/** Opens a key that may not be there yet, in several attempts, one at a time. */
export class KeyOpener {
  private attempt: Promise<void> | null = null;
  /** When the last attempt ended, by the clock. */
  private endedAt = -Infinity;
  private lastProblem: SignpipeError | null = null;

  constructor(
    private readonly options: KeyOpenerOptions,
    private opened: ChannelKey | null = null,
  ) {}

  /** Null until an attempt succeeds. */
  get key(): ChannelKey | null {
    return this.opened;
  }

  /** How the last attempt failed; null if none has, and once the key is open. */
  get problem(): SignpipeError | null {
    return this.lastProblem;
  }

  /** Whether a person must act, and then restart the signer: another attempt could lock a token, or cost money. */
  get needsPerson(): boolean {
    return (
      this.lastProblem !== null && !this.lastProblem.retryable && COSTLY.test(this.options.settings.key ?? '')
    );
  }

  /** What to do about the problem. */
  get hint(): string {
    const todo = this.lastProblem?.hint ?? 'run signpipe doctor';
    return this.needsPerson ? `${todo}; then restart the signer` : todo;
  }

  /** Begins an attempt unless the last one was less than `pause` ms ago, and waits a few seconds for its end. */
  async tryEvery(pause: number): Promise<void> {
    if (this.attempt === null && this.options.clock() - this.endedAt < pause) return;
    const over = new AbortController();
    const patience = sleep(PATIENCE, undefined, { signal: over.signal }).catch(() => {});
    await Promise.race([this.tryNow(), patience]);
    over.abort();
  }

  /** Makes an attempt, unless the key is open or a person must act first; or joins the one that is under way. */
  tryNow(): Promise<void> {
    if (this.opened || this.needsPerson) return Promise.resolve();
    this.attempt ??= this.makeAttempt().finally(() => (this.attempt = null));
    return this.attempt;
  }

  private async makeAttempt(): Promise<void> {
    const { open, settings, clock, onOpened } = this.options;
    try {
      this.opened = await open(settings);
      this.lastProblem = null;
      onOpened?.(this.opened);
    } catch (error) {
      this.failed(
        error instanceof SignpipeError
          ? error
          : usage('successor-unusable', messageOf(error), { cause: error }),
      );
    }
    this.endedAt = clock();
  }

  private failed(problem: SignpipeError): void {
    const isNew = problem.message !== this.lastProblem?.message;
    this.lastProblem = problem;
    if (isNew) this.options.onProblem(problem);
  }

  /** Closes the key; an attempt that is under way ends first. */
  async close(): Promise<void> {
    await this.attempt;
    await this.opened?.key.close();
  }
}

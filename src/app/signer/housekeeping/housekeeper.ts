import type { SignerContext } from '../context/signer-context.ts';
import { sweepExchange } from './sweep-exchange.ts';

/** When the first sweep of the exchange begins, and how long after one the next, in ms. */
const SWEEP = { first: 600_000, every: 86_400_000 };
/** How often the clone is looked at, in ms, and how many packs it may have in quiet times. */
const CLONE = { every: 3_600_000, packs: 10 };

interface QuietTime {
  /** The requests that have no answer. */
  readonly unanswered: () => readonly string[];
  /** By the monotonic clock, in ms; the real one unless given. */
  readonly now?: () => number;
}

/** Tidies up in quiet times: the exchange once a day, the clone once an hour. Each step is short, and no request waits for it. */
export class Housekeeper {
  private readonly now: () => number;
  private sweep: AsyncGenerator<void, void, void> | null = null;
  private sweepAt: number;
  private cloneAt: number;

  constructor(
    private readonly context: SignerContext,
    private readonly quiet: QuietTime,
  ) {
    this.now = quiet.now ?? (() => performance.now());
    this.sweepAt = this.now() + SWEEP.first;
    this.cloneAt = this.now() + CLONE.every;
  }

  /** Does one step, if something is due. Called when a poll found nothing to answer. */
  async step(): Promise<void> {
    if (this.now() >= this.cloneAt && this.quiet.unanswered().length === 0) {
      this.cloneAt = this.now() + CLONE.every;
      await this.context.repository.maintain(CLONE.packs);
    } else if (this.sweep || this.now() >= this.sweepAt) await this.stepOfSweep();
  }

  private async stepOfSweep(): Promise<void> {
    const { incoming, outgoing } = this.context.config.housekeeping;
    this.sweepAt = this.now() + SWEEP.every;
    if (incoming === null && outgoing === null) return;
    this.sweep ??= sweepExchange(this.context, this.quiet.unanswered);
    try {
      const { done } = await this.sweep.next();
      if (done) this.sweep = null;
    } catch (error) {
      this.sweep = null;
      throw error;
    }
  }
}

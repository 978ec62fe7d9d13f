import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { jsonOrNull } from '../../lib/json.ts';
import { requireNoExtraContent } from '../../engine/authenticode/unauthenticated-data.ts';
import { hasCode } from '../../lib/errors.ts';
import { writeFileAtomically } from '../../lib/bytes/atomic-file.ts';
import { TimestampUnavailable } from '../../engine/timestamp/stamp-attempts.ts';
import type { Channel } from './channel.ts';
import { unmet, type UnmetPrecondition } from './unmet-precondition.ts';

const stateSchema = z.strictObject({
  version: z.literal(1),
  /** Since when no authority of a channel has returned a token. */
  channels: z.array(z.strictObject({ name: z.string(), since: z.iso.datetime() })),
  /** When a request first failed to get a token. */
  requests: z.array(z.strictObject({ id: z.string(), channel: z.string(), first: z.iso.datetime() })),
});

/** The longest pause between two attempts, in ms. */
const LONGEST_PAUSE = 60_000;
/** A request that has disappeared (history was rewritten) is forgotten after this, in ms. */
const FORGOTTEN_AFTER = 30 * 86_400_000;

/** The outage of all authorities of a channel. */
interface Outage {
  readonly since: Date;
  /** The next attempt, on the monotonic clock, in ms. */
  readonly retryAt: number;
  /** The pause before it, in ms. */
  readonly pause: number;
}

interface WaitingRequest {
  readonly channel: string;
  /** When it was first tried. */
  readonly first: Date;
}

interface TimestampOutageOptions {
  /** `retry.for`: how long a request waits in all, in ms. */
  readonly longest: number;
  /** `retry.wait`: the first pause between two attempts, in ms; it doubles each time, up to one minute. */
  readonly pause: number;
  readonly now: () => Date;
}

/**
 * Requests that wait because their channel's timestamp authorities are down, on disk, so that a restart does not give
 * them more time. Before such a request is begun again, one timestamp over random bytes is requested: until an
 * authority answers, nothing is fetched and the key is not used.
 */
export class TimestampOutages {
  private readonly down = new Map<string, Outage>();
  private readonly waiting = new Map<string, WaitingRequest>();
  private changes = 0;

  private constructor(
    private readonly file: string,
    private readonly options: TimestampOutageOptions,
  ) {}

  /** Reads `waiting.json` in the state folder. A missing or damaged file counts as empty. */
  static async open(state: string, options: TimestampOutageOptions): Promise<TimestampOutages> {
    const waits = new TimestampOutages(join(state, 'waiting.json'), options);
    await waits.read();
    return waits;
  }

  /** Since when each channel has been without a timestamp, by its name. */
  get since(): ReadonlyMap<string, Date> {
    return new Map([...this.down].map(([name, { since }]) => [name, since]));
  }

  /** Changes whenever `since` may have changed. */
  get version(): number {
    return this.changes;
  }

  /**
   * Called before a request is begun: why it still has to wait, or null. A request whose time is over gets a last
   * attempt. Throws the TimestampUnavailable of an attempt, which `after` judges.
   */
  async before(request: string, channel: Channel): Promise<UnmetPrecondition | null> {
    const { config, timestamper } = channel;
    const down = this.down.get(config.name);
    if (!down || !timestamper) return null;
    await this.note(request, config.name);
    if (this.left(request) > 0 && performance.now() < down.retryAt) return this.wait(request, down);
    await timestamper.timestamp(randomBytes(32), config.signing.digest, requireNoExtraContent, true);
    this.down.delete(config.name);
    await this.save();
    return null;
  }

  /**
   * Judges an error while a request was handled: why the request waits, or null if the error is no outage of timestamp
   * authorities, or the outage has lasted too long and so is the answer.
   */
  async after(
    error: unknown,
    request: string,
    channel: Channel | undefined,
  ): Promise<UnmetPrecondition | null> {
    if (!(error instanceof TimestampUnavailable) || !error.transient || !channel) return null;
    const { name } = channel.config;
    const earlier = this.down.get(name);
    const pause = earlier ? Math.min(earlier.pause * 2, LONGEST_PAUSE) : this.options.pause;
    const since = earlier?.since ?? this.options.now();
    const down = { since, pause, retryAt: performance.now() + pause };
    this.down.set(name, down);
    await this.note(request, name);
    await this.save();
    return this.left(request) > 0 ? this.wait(request, down) : null;
  }

  /** Forgets an answered request, and its channel's outage if no other request waits for it. */
  async forget(request: string): Promise<void> {
    const channel = this.waiting.get(request)?.channel;
    if (channel === undefined) return;
    this.waiting.delete(request);
    const others = [...this.waiting.values()].some((each) => each.channel === channel);
    if (!others) this.down.delete(channel);
    await this.save();
  }

  private wait(request: string, { since }: Outage): UnmetPrecondition {
    const until = new Date(this.options.now().getTime() + this.left(request)).toISOString();
    return unmet(
      `no timestamp authority has answered since ${since.toISOString()}; they are asked again, until ${until} at the latest`,
    );
  }

  /** The remaining time of a request, in ms. A clock that was set back does not increase it beyond the whole. */
  private left(request: string): number {
    const { longest, now } = this.options;
    const first = this.waiting.get(request)?.first ?? now();
    return longest - Math.max(0, now().getTime() - first.getTime());
  }

  private async note(id: string, channel: string): Promise<void> {
    const now = this.options.now();
    const earlier = this.waiting.get(id);
    if (earlier && earlier.first <= now) return;
    this.waiting.set(id, { channel, first: now });
    await this.save();
  }

  private async read(): Promise<void> {
    const text = await readFile(this.file, 'utf8').catch((error: unknown) => {
      if (hasCode(error, 'ENOENT')) return '';
      throw error;
    });
    const state = stateSchema.safeParse(jsonOrNull(text));
    if (!state.success) return;
    const { pause, now } = this.options;
    for (const { id, channel, first } of state.data.requests)
      if (now().getTime() - Date.parse(first) < FORGOTTEN_AFTER)
        this.waiting.set(id, { channel, first: new Date(first) });
    const channels = new Set([...this.waiting.values()].map(({ channel }) => channel));
    for (const { name, since } of state.data.channels)
      if (channels.has(name)) this.down.set(name, { since: new Date(since), retryAt: 0, pause });
  }

  private async save(): Promise<void> {
    this.changes += 1;
    const channels = [...this.down].map(([name, { since }]) => ({ name, since: since.toISOString() }));
    const requests = [...this.waiting].map(([id, { channel, first }]) => ({
      id,
      channel,
      first: first.toISOString(),
    }));
    const state = { version: 1, channels, requests };
    await writeFileAtomically(this.file, `${JSON.stringify(state)}\n`, { mode: 0o600 });
  }
}

import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { z } from 'zod';
import { requireNoExtraContent } from '../../../engine/authenticode/unauthenticated-data.ts';
import type { SignpipeError } from '../../../lib/errors.ts';
import { writeFileAtomically } from '../../../lib/bytes/atomic-file.ts';
import { KeyUnavailable } from '../../../engine/keys/signing-key.ts';
import { TimestampUnavailable } from '../../../engine/timestamp/stamp-attempts.ts';
import { readStateFile } from '../state/state-file.ts';
import type { Channel } from './channel.ts';
import { unmet, type UnmetPrecondition } from './unmet-precondition.ts';

const stateSchema = z.strictObject({
  version: z.literal(1),
  /** Since when a channel has been without timestamps (unless `for` says otherwise), or without its key. */
  channels: z.array(
    z.strictObject({
      name: z.string(),
      for: z.enum(['timestamp', 'key']).default('timestamp'),
      since: z.iso.datetime(),
    }),
  ),
  /** When a request was first tried in vain. */
  requests: z.array(z.strictObject({ id: z.string(), channel: z.string(), first: z.iso.datetime() })),
});

/** The longest pause between two attempts, in ms. */
const LONGEST_PAUSE = 60_000;
/** The longest pause that a service may ask for, in ms. */
const LONGEST_ASKED = 600_000;
/** A request that has disappeared (history was rewritten) is forgotten after this, in ms. */
const FORGOTTEN_AFTER = 30 * 86_400_000;

/** What a channel is without: none of its timestamp authorities answers, or its signing key cannot be reached. */
export interface ChannelOutage {
  readonly for: 'timestamp' | 'key';
  readonly since: Date;
}

interface Outage extends ChannelOutage {
  /** What the last attempt met; empty after a restart. */
  readonly message: string;
  /** The next attempt, on the monotonic clock, in ms. */
  readonly retryAt: number;
  /** The pause before it, in ms. */
  readonly pause: number;
}

interface WaitingRequest {
  readonly channel: string;
  /** When it was first tried. */
  readonly first: Date;
  /** How long it had waited at a time of the monotonic clock, both in ms. */
  readonly waited: { readonly ms: number; readonly at: number };
}

interface OutageOptions {
  /** `retry.for`: how long a request waits in all, in ms. */
  readonly longest: number;
  /** `retry.wait`: the first pause between two attempts, in ms; it doubles each time, up to one minute. */
  readonly pause: number;
  readonly now: () => Date;
}

const causeOf = (error: unknown): ChannelOutage['for'] | null => {
  if (error instanceof KeyUnavailable) return 'key';
  return error instanceof TimestampUnavailable && error.transient ? 'timestamp' : null;
};

/**
 * Requests that wait because their channel's timestamp authorities are down, or its key cannot be reached: on disk, so
 * that a restart does not give them more time. Before a request that waits for timestamps is begun again, one timestamp
 * over random bytes is requested: until an authority answers, nothing is fetched and the key is not used. A key is
 * asked whether it is there, if it can say so without a signature; if it cannot, one request after each pause finds out.
 */
export class Outages {
  private readonly down = new Map<string, Outage>();
  private readonly waiting = new Map<string, WaitingRequest>();
  private changes = 0;

  private constructor(
    private readonly file: string,
    private readonly options: OutageOptions,
  ) {}

  /** Reads `waiting.json` in the state folder. A missing or damaged file counts as empty. */
  static async open(state: string, options: OutageOptions): Promise<Outages> {
    const waits = new Outages(join(state, 'waiting.json'), options);
    await waits.read();
    return waits;
  }

  /** What channels are without, and since when, by their names. */
  get channels(): ReadonlyMap<string, ChannelOutage> {
    return new Map([...this.down].map(([name, { for: cause, since }]) => [name, { for: cause, since }]));
  }

  /** The requests that wait. */
  get requests(): readonly { readonly id: string; readonly channel: string; readonly first: Date }[] {
    return [...this.waiting].map(([id, { channel, first }]) => ({ id, channel, first }));
  }

  /** Changes whenever `channels` or `requests` may have changed. */
  get version(): number {
    return this.changes;
  }

  /**
   * Called before a request is begun: why it still has to wait, or null. A request whose time is over gets a last
   * attempt. Throws the error of an attempt, which `after` judges.
   */
  async before(request: string, channel: Channel): Promise<UnmetPrecondition | null> {
    const { name } = channel.config;
    const down = this.down.get(name);
    if (!down) return null;
    await this.note(request, name);
    if (this.left(request) > 0 && performance.now() < down.retryAt) return this.wait(request, down);
    if (down.for === 'timestamp') await this.tryTimestamp(channel);
    else await channel.key.available?.();
    return null;
  }

  /** The outage is over only when a request was signed: an authority may answer once and no more. */
  private async tryTimestamp({ config, timestamper }: Channel): Promise<void> {
    await timestamper?.timestamp(randomBytes(32), config.signing.digest, requireNoExtraContent, true);
  }

  /** Called when a channel has made a signature, and got its timestamp. */
  async over(channel: string): Promise<void> {
    if (this.down.delete(channel)) await this.save();
  }

  /**
   * Judges an error while a request was handled: why the request waits, or null if the error is no outage of timestamp
   * authorities or a key, or the outage has lasted too long and so is the answer.
   */
  async after(
    error: unknown,
    request: string,
    channel: Channel | undefined,
  ): Promise<UnmetPrecondition | null> {
    const cause = causeOf(error);
    if (!cause || !channel) return null;
    const { name } = channel.config;
    const down = this.nextOutage(cause, error as SignpipeError, this.down.get(name));
    this.down.set(name, down);
    await this.note(request, name);
    await this.save();
    return this.left(request) > 0 ? this.wait(request, down) : null;
  }

  private nextOutage(cause: ChannelOutage['for'], error: SignpipeError, last: Outage | undefined): Outage {
    const earlier = last?.for === cause ? last : undefined;
    const usual = earlier ? Math.min(earlier.pause * 2, LONGEST_PAUSE) : this.options.pause;
    const asked = error instanceof KeyUnavailable ? (error.retryAfterMs ?? 0) : 0;
    const pause = Math.max(usual, Math.min(asked, LONGEST_ASKED));
    return {
      for: cause,
      since: earlier?.since ?? this.options.now(),
      message: `${error.message} [${error.code}]`,
      pause: usual,
      retryAt: performance.now() + pause,
    };
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

  private wait(request: string, { for: cause, since, message }: Outage): UnmetPrecondition {
    const { longest, now } = this.options;
    const first = this.waiting.get(request)?.first ?? now();
    const until = new Date(first.getTime() + longest).toISOString();
    if (cause === 'timestamp')
      return unmet(
        'outage-timestamp',
        `no timestamp authority has answered since ${since.toISOString()}; they are asked again, until ${until} at the latest`,
      );
    const why = message === '' ? '' : `: ${message}`;
    return unmet(
      'outage-key',
      `the signing key has been out of reach since ${since.toISOString()}; it is tried again, until ${until} at the latest${why}`,
    );
  }

  /** The remaining time of a request, in ms. A clock that is set while the signer runs changes nothing. */
  private left(request: string): number {
    const { waited } = this.waiting.get(request) ?? {};
    return this.options.longest - (waited ? waited.ms + performance.now() - waited.at : 0);
  }

  private async note(id: string, channel: string): Promise<void> {
    const now = this.options.now();
    const earlier = this.waiting.get(id);
    if (earlier && earlier.first <= now) return;
    this.waiting.set(id, { channel, first: now, waited: { ms: 0, at: performance.now() } });
    await this.save();
  }

  private async read(): Promise<void> {
    const state = await readStateFile(this.file, stateSchema);
    if (!state) return;
    const { pause, now } = this.options;
    for (const { id, channel, first } of state.requests) {
      const waited = { ms: Math.max(0, now().getTime() - Date.parse(first)), at: performance.now() };
      if (waited.ms < FORGOTTEN_AFTER) this.waiting.set(id, { channel, first: new Date(first), waited });
    }
    const channels = new Set([...this.waiting.values()].map(({ channel }) => channel));
    for (const { name, for: cause, since } of state.channels)
      if (channels.has(name))
        this.down.set(name, { for: cause, since: new Date(since), message: '', retryAt: 0, pause });
  }

  private async save(): Promise<void> {
    this.changes += 1;
    const channels = [...this.down].map(([name, { for: cause, since }]) => ({
      name,
      for: cause,
      since: since.toISOString(),
    }));
    const requests = [...this.waiting].map(([id, { channel, first }]) => ({
      id,
      channel,
      first: first.toISOString(),
    }));
    const state = { version: 1, channels, requests };
    await writeFileAtomically(this.file, `${JSON.stringify(state)}\n`, { mode: 0o600 });
  }
}

import type { Logger } from 'pino';
import { isoDay } from '../../../lib/iso-day.ts';
import { printable } from '../../../lib/printable.ts';
import type { Channel } from './channel.ts';
import type { ChannelKey } from './channel-key.ts';

/** Whether a channel signs with another key than before, or may no longer sign, or may again. */
const isSame = (a: Pick<Channel, 'key' | 'keyProblem'>, b: Pick<Channel, 'key' | 'keyProblem'>): boolean =>
  a.key === b.key && a.keyProblem?.message === b.keyProblem?.message;

/** Changes the channels with `signing.successor` to the next certificate when its time has come. */
export class Renewals {
  private changes = 0;
  /** The successors that are open, by channel; an attempt to open one may end between two calls. */
  private readonly successors = new Map<string, ChannelKey | null>();

  constructor(
    private readonly channels: Map<string, Channel>,
    private readonly log: Logger,
  ) {}

  /** Changes whenever a channel's certificates may have changed. */
  get version(): number {
    return this.changes;
  }

  /**
   * Updates the channels. Called before each poll and before each request, never while one is signed: a request keeps
   * its key.
   */
  async refresh(now: Date): Promise<void> {
    for (const [name, channel] of this.channels) {
      const { renewal } = channel;
      if (!renewal) continue;
      const inUse = await renewal.keyAt(now);
      if (this.successors.get(name) !== renewal.successor) this.changes += 1;
      this.successors.set(name, renewal.successor);
      if (isSame(inUse, channel)) continue;
      this.channels.set(name, { ...channel, ...inUse });
      this.changes += 1;
      this.report(name, channel, inUse);
    }
  }

  private report(
    channel: string,
    before: Channel,
    { key, keyProblem }: Pick<Channel, 'key' | 'keyProblem'>,
  ): void {
    if (keyProblem) {
      const { code, hint, message } = keyProblem;
      this.log.error({ channel, code, hint }, message);
      return;
    }
    const [old, now] = [before.key.certificates[0], key.certificates[0]];
    if (old === now || !now) return;
    this.log.warn(
      { channel, code: 'certificate-changed', before: old?.sha256, certificate: now.sha256 },
      `channel ${channel}: signs with the certificate ${now.sha256.slice(0, 8)} of ${printable(now.subject, 200)}, valid until ${isoDay(now.notAfter)}, from now on`,
    );
  }
}

import { join } from 'node:path';
import { writeFileAtomically } from '../../../lib/bytes/atomic-file.ts';
import type { Channel } from './channel.ts';
import { HEALTH, type SignerHealth } from '../state/health.ts';
import { healthOf } from './channel-health.ts';
import type { Outages } from './outages.ts';

/** How often changes are looked for, in ms. */
const EVERY = 2000;
/** How often it is written although nothing has changed, in ms: so that a reader sees that the signer lives. */
const HEARTBEAT = 60_000;

/** Keeps `health.json` as the signer is, for `signpipe status` and `doctor`. A write that fails is tried again later. */
export class HealthReport {
  private readonly started = new Date().toISOString();
  private readonly timer: NodeJS.Timeout;
  private last = '';
  private due = 0;
  private writing: Promise<void> = Promise.resolve();

  constructor(
    private readonly state: string,
    private readonly channels: ReadonlyMap<string, Channel>,
    private readonly outages: Outages,
    private readonly now: () => Date,
  ) {
    this.timer = setInterval(() => this.update(), EVERY).unref();
    this.update();
  }

  /** Writes it a last time. */
  async close(): Promise<void> {
    clearInterval(this.timer);
    await this.writing;
    this.write(true);
    await this.writing;
  }

  private update(): void {
    const now = JSON.stringify(this.observed());
    if (now === this.last && performance.now() < this.due) return;
    this.last = now;
    this.due = performance.now() + HEARTBEAT;
    this.write(false);
  }

  private observed(): Pick<SignerHealth, 'channels' | 'requests'> {
    return {
      channels: healthOf(this.channels, this.outages, this.now()),
      requests: this.outages.requests.map(({ id, channel, first }) => ({
        id,
        channel,
        first: first.toISOString(),
      })),
    };
  }

  private write(ended: boolean): void {
    const { started } = this;
    const written = new Date().toISOString();
    const health: SignerHealth = {
      version: 1,
      pid: process.pid,
      started,
      written,
      ended,
      ...this.observed(),
    };
    const text = `${JSON.stringify(health)}\n`;
    this.writing = this.writing
      .then(() => writeFileAtomically(join(this.state, HEALTH), text, { mode: 0o600 }))
      .catch(() => void (this.last = ''));
  }
}

import { join } from 'node:path';
import { writeFileAtomically } from '../../../lib/bytes/atomic-file.ts';
import { HEALTH, type SignerHealth } from '../state/health.ts';
import type { Channel } from '../channel/channel.ts';
import { healthOf } from '../channel/channel-health.ts';
import type { Outages } from '../channel/outages.ts';
import type { Activity } from './activity.ts';

/** How often changes are looked for, in ms. */
const EVERY = 2000;
/** How often it is written although nothing has changed, in ms: so that a reader sees that the signer lives. */
const HEARTBEAT = 60_000;

/** What `health.json` is made from. */
interface ReportedSigner {
  readonly channels: ReadonlyMap<string, Channel>;
  readonly outages: Outages;
  readonly activity: Activity;
  readonly now: () => Date;
}

/** Keeps `health.json` as the signer is, for `signpipe status` and `doctor`. A write that fails is tried again later. */
export class HealthReport {
  private readonly started = new Date().toISOString();
  private readonly timer: NodeJS.Timeout;
  private last = '';
  private due = 0;
  private writing: Promise<void> = Promise.resolve();

  constructor(
    private readonly state: string,
    private readonly signer: ReportedSigner,
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

  private observed(): Omit<SignerHealth, 'version' | 'pid' | 'started' | 'written' | 'ended'> {
    const { channels, outages, activity, now } = this.signer;
    return {
      channels: healthOf(channels, outages, now()),
      requests: outages.requests.map(({ id, channel, first }) => ({
        id,
        channel,
        first: first.toISOString(),
      })),
      ...activity.report,
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

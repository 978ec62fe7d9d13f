import { readHold } from '../../../protocol/control/hold.ts';
import type { ChannelHealth } from '../../../protocol/control/signer-health.ts';
import { AllowedSigners } from '../../../lib/sshsig/allowed-signers.ts';
import { healthOf } from '../channel/channel-health.ts';
import type { Activity } from '../context/activity.ts';
import type { SignerContext } from '../context/signer-context.ts';
import { readOperatorHold } from '../state/operator-hold.ts';

/** How a signer is at one moment: heartbeats, metrics and notifications are made from it. */
export interface Observation {
  readonly at: Date;
  readonly channels: readonly ChannelHealth[];
  readonly activity: Activity;
  /** Since when signing is on HOLD; null if it is not. */
  readonly holdSince: Date | null;
}

/** Reports how a signer is. A failure is its own affair: it neither throws nor delays the signer. */
export interface Reporter {
  report(observation: Observation): void;
  /** Reports a last time, and ends what is under way; takes a few seconds at most. */
  close(observation: Observation): Promise<void>;
}

const NO_SIGNERS = AllowedSigners.parse('', 'none');

/** Since when signing is on HOLD. Reads the history again only when its head has changed. */
export class HoldObserver {
  private head: string | null = null;
  private since: Date | null = null;

  constructor(private readonly context: SignerContext) {}

  async read(): Promise<Date | null> {
    const { config, acceptedHeads } = this.context;
    const operator = await readOperatorHold(config.state);
    const head = acceptedHeads.heads?.requests ?? null;
    if (head !== null && head !== this.head) {
      this.since = await this.readAt(head);
      this.head = head;
    }
    return operator?.since ?? this.since;
  }

  private async readAt(head: string): Promise<Date | null> {
    const { channels, repository, acceptedHeads, now } = this.context;
    const byDefault = channels.get('default');
    const hold = await readHold(repository, head, {
      allowed: byDefault?.allowed ?? NO_SIGNERS,
      acceptUnsigned: byDefault?.config.trust.unsignedRequests === 'accept',
      now: now(),
      firstSeen: (commit) => acceptedHeads.firstSeen(repository, commit),
    });
    return hold.held ? (hold.since ?? now()) : null;
  }
}

/** Observes a signer. Reads its clone, and asks no host. */
export async function observe(context: SignerContext, hold: HoldObserver): Promise<Observation> {
  const { channels, outages, activity, now } = context;
  const holdSince = await hold.read();
  const at = now();
  return { at, channels: healthOf(channels, outages, at), activity, holdSince };
}

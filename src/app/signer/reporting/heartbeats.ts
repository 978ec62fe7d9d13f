import { join } from 'node:path';
import { messageOf, SignpipeError } from '../../../lib/errors.ts';
import { VERSION } from '../../../lib/version.ts';
import { HeartbeatPusher } from '../../../protocol/control/push-heartbeats.ts';
import type { Heartbeat } from '../../../protocol/control/signer-health.ts';
import { signerName } from '../../../protocol/control/signer-name.ts';
import type { SignerContext } from '../context/signer-context.ts';
import type { Observation, Reporter } from './observation.ts';

/** The shortest time between two heartbeats, in ms; only the last one, when the signer stops, may come sooner. */
const SHORTEST = 60_000;
/** How long stopping waits for the last heartbeat, in ms. */
const LAST = 5000;

/** What is pushed as soon as it begins or ends, rather than with the next regular heartbeat. */
const urgencyOf = ({ activity, channels, holdSince }: Observation): string =>
  JSON.stringify([
    activity.alarm?.code,
    activity.problem?.code,
    holdSince !== null,
    ...channels.map(({ name, waiting, problem }) => [name, waiting?.for, problem?.code]),
  ]);

/** Pushes heartbeats: see "Heartbeats" in docs/protocol.md. One that cannot be pushed is logged once. */
export class Heartbeats implements Reporter {
  private readonly started: Date;
  private readonly pusher: HeartbeatPusher;
  private readonly stop = new AbortController();
  private pushing: Promise<void> = Promise.resolve();
  private busy = false;
  /** Whether one has been pushed. */
  private known = false;
  private last = { at: Number.NEGATIVE_INFINITY, urgency: '' };
  /** The code of the error that was logged last. */
  private logged = '';

  constructor(
    private readonly context: SignerContext,
    /** The time between two heartbeats, in ms. */
    private readonly every: number,
    /** The monotonic clock, in ms. */
    private readonly clock: () => number = () => performance.now(),
  ) {
    const { config, repository, now } = context;
    this.started = now();
    const path = join(config.state, 'health.git');
    this.pusher = new HeartbeatPusher({ url: repository.url, path, sshCommand: repository.sshCommand });
  }

  report(observation: Observation): void {
    const urgency = urgencyOf(observation);
    const age = this.clock() - this.last.at;
    if (this.busy || age < SHORTEST || (urgency === this.last.urgency && age < this.every)) return;
    this.last = { at: this.clock(), urgency };
    this.pushing = this.push(this.contentOf(observation, false));
  }

  /** Resolves when no push is under way. */
  get settled(): Promise<void> {
    return this.pushing;
  }

  async close(observation: Observation): Promise<void> {
    const late = setTimeout(() => this.stop.abort(new Error('the signer stops')), LAST);
    await this.pushing;
    if (this.known) await this.push(this.contentOf(observation, true));
    clearTimeout(late);
  }

  private contentOf({ at, activity, channels }: Observation, ended: boolean): Heartbeat {
    const { acceptedHeads, writer } = this.context;
    const { current, ...report } = activity.report;
    const heads = acceptedHeads.heads;
    return {
      version: 1,
      signer: signerName(writer.signer.fingerprint),
      name: writer.identity.name,
      signpipe: VERSION,
      written: at.toISOString(),
      every: Math.round(this.every / 1000),
      started: this.started.toISOString(),
      ended,
      heads: { requests: heads?.requests ?? null, receipts: heads?.receipts ?? null },
      ...report,
      ...(current && !ended ? { current } : {}),
      queue: activity.queue.size,
      channels: [...channels],
    };
  }

  private async push(content: Heartbeat): Promise<void> {
    this.busy = true;
    try {
      const { signer, identity } = this.context.writer;
      await this.pusher.push(content, { signer, identity }, this.stop.signal);
      if (this.logged !== '') this.context.log.info('heartbeats are pushed again');
      this.logged = '';
      this.known = true;
    } catch (error) {
      this.warn(error);
    } finally {
      this.busy = false;
    }
  }

  private warn(error: unknown): void {
    const code = error instanceof SignpipeError ? error.code : 'internal-error';
    // Tried again in a minute; a refusal lasts longer.
    if (code !== 'git-refused') this.last.urgency = '';
    if (code === this.logged || this.stop.signal.aborted) return;
    this.logged = code;
    const hint =
      code === 'git-refused'
        ? 'give the Git host the new hook (pipeline/hooks/update), or set health: { heartbeat: off } in signer.yaml'
        : 'nothing else depends on it; it is tried again';
    this.context.log.warn({ code, hint }, `no heartbeat could be pushed: ${messageOf(error)}`);
  }
}

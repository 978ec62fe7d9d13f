import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Logger } from 'pino';
import { inheritedEnvironment } from '../../../lib/child-environment.ts';
import { hasCode, messageOf } from '../../../lib/errors.ts';
import { printable } from '../../../lib/printable.ts';

/** The least time between two status lines, in ms: each runs a program. */
const STATUS_EVERY = 5000;
/** How long the program may take, in ms. */
const NOTIFY_MS = 10_000;

type Variables = Readonly<Record<string, string | undefined>>;

/** How often systemd expects a sign of life from this process, in ms; null if it does not. */
function watchdogOf({ WATCHDOG_USEC: time = '', WATCHDOG_PID: pid }: Variables): number | null {
  const isOurs = pid === undefined || pid === String(process.pid);
  return isOurs && /^[1-9]\d{0,17}$/.test(time) ? Number(time) / 1000 : null;
}

/**
 * Reports to the service manager (sd_notify(3)): ready, a status line, signs of life. Without `NOTIFY_SOCKET` it does
 * nothing. Node has no datagram sockets in the file system, so `systemd-notify` sends each message.
 */
export class ServiceManager {
  private readonly socket: string | undefined;
  private readonly watchdogMs: number | null;
  private sending: Promise<void> = Promise.resolve();
  private isBroken = false;
  private timer: NodeJS.Timeout | undefined;
  private statusTimer: NodeJS.Timeout | undefined;
  private wanted = '';
  private sent = '';

  constructor(
    private readonly log: Pick<Logger, 'warn'>,
    variables: Variables = process.env,
  ) {
    this.socket = variables['NOTIFY_SOCKET'] || undefined;
    this.watchdogMs = this.socket === undefined ? null : watchdogOf(variables);
  }

  /** The program has started, or has read its configuration again. */
  ready(): void {
    this.send(['READY=1']);
  }

  /** The program reads its configuration again; `ready` follows. */
  reloading(): void {
    // On Linux, hrtime is CLOCK_MONOTONIC, as the service manager expects it.
    this.send(['RELOADING=1', `MONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`]);
  }

  /** The program finishes its current work, and then ends. */
  stopping(): void {
    this.send(['STOPPING=1']);
  }

  /** Resolves when everything is sent. */
  close(): Promise<void> {
    clearInterval(this.timer);
    clearTimeout(this.statusTimer);
    return this.sending;
  }

  /** One line about what the program does; the last one counts, at most one every few seconds. */
  status(text: string): void {
    this.wanted = printable(text, 200);
    if (this.socket === undefined || this.statusTimer) return;
    this.sendStatus();
    this.statusTimer = setTimeout(() => {
      this.statusTimer = undefined;
      if (this.wanted !== this.sent) this.status(this.wanted);
    }, STATUS_EVERY).unref();
  }

  /** Sends signs of life, twice as often as they are expected, as long as the program is `alive`. */
  keepAlive(alive: () => boolean): void {
    if (this.watchdogMs === null) return;
    const beat = (): void => {
      if (alive()) this.send(['WATCHDOG=1']);
    };
    clearInterval(this.timer);
    beat();
    this.timer = setInterval(beat, this.watchdogMs / 2).unref();
  }

  private sendStatus(): void {
    if (this.wanted === this.sent) return;
    this.sent = this.wanted;
    this.send([`STATUS=${this.wanted}`]);
  }

  /** Sends messages in order. A failure is logged once: the work goes on. */
  private send(messages: readonly string[]): void {
    if (this.socket === undefined) return;
    this.sending = this.sending.then(() => this.run(messages));
  }

  private async run(messages: readonly string[]): Promise<void> {
    try {
      await promisify(execFile)('systemd-notify', [...messages], {
        env: inheritedEnvironment(['NOTIFY_SOCKET']),
        timeout: NOTIFY_MS,
      });
      this.isBroken = false;
    } catch (error) {
      if (!this.isBroken) this.report(error);
      this.isBroken = true;
    }
  }

  private report(error: unknown): void {
    const why = hasCode(error, 'ENOENT') ? 'there is no program systemd-notify' : messageOf(error).trim();
    const hint = 'without it, use Type=simple and no WatchdogSec in the unit, or systemd ends the service';
    this.log.warn({ code: 'service-manager', hint }, `the service manager is not informed: ${why}`);
  }
}

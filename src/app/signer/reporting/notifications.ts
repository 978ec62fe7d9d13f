import { runCommand, type CommandOutcome } from '../../../lib/command/run-command.ts';
import { inheritedEnvironment } from '../../../lib/child-environment.ts';
import { messageOf } from '../../../lib/errors.ts';
import { printable, printableLines } from '../../../lib/printable.ts';
import type { NotifyConfig } from '../../config/reporting-sections.ts';
import type { SignerContext } from '../context/signer-context.ts';
import { answerNotice, certificateNotice, conditionsOf, type Condition, type Notice } from './notices.ts';
import type { Observation, Reporter } from './observation.ts';

/** How many notices wait for the program. */
const MOST_QUEUED = 20;
const MINUTE = 60_000;
/** How long stopping waits for the program, in ms. */
const LAST = 5000;

const isAnswer = ({ event }: Notice): boolean => event === 'refused' || event === 'failed';

/** Runs `notify.command` when a person should look. It delays nothing. */
export class Notifications implements Reporter {
  private conditions = new Map<string, Condition>();
  private readonly queue: Notice[] = [];
  /** How many notices were left out since the last that was not. */
  private suppressed = 0;
  /** When the program was run in the last minute, by the monotonic clock. */
  private runs: number[] = [];
  private running: Promise<void> | null = null;
  private readonly stop = new AbortController();

  constructor(
    private readonly context: SignerContext,
    private readonly config: NotifyConfig,
    /** The monotonic clock, in ms. */
    private readonly clock: () => number = () => performance.now(),
  ) {
    context.activity.listen({
      answered: (receipt) => this.add(answerNotice(receipt)),
      expires: (channel, code, text) => this.add(certificateNotice(channel, code, text)),
    });
  }

  report(observation: Observation): void {
    const now = conditionsOf(observation);
    for (const [name, condition] of now)
      if (this.conditions.get(name)?.code !== condition.code) this.add({ ...condition, state: 'begins' });
    for (const [name, condition] of this.conditions)
      if (!now.has(name)) this.add({ ...condition, state: 'ends', title: `over: ${condition.title}` });
    this.conditions = now;
    this.next();
  }

  /** Resolves when no program runs and none can be run now. */
  async settled(): Promise<void> {
    while (this.running) await this.running;
  }

  async close(observation: Observation): Promise<void> {
    this.report(observation);
    const late = setTimeout(() => this.stop.abort(), LAST);
    await this.settled();
    clearTimeout(late);
    this.stop.abort();
  }

  /** Refusals can be many: they make room for all else. */
  private add(notice: Notice | null): void {
    if (!notice || !this.config.on.includes(notice.event)) return;
    if (this.queue.length >= MOST_QUEUED) {
      this.suppressed += 1;
      const least = this.queue.findIndex(isAnswer);
      if (isAnswer(notice) || least < 0) return;
      this.queue.splice(least, 1);
    }
    const at = isAnswer(notice) ? this.queue.length : this.queue.findIndex(isAnswer);
    this.queue.splice(at < 0 ? this.queue.length : at, 0, notice);
    this.next();
  }

  /** Runs the program for the next notice, unless it runs, or has run often enough in this minute. */
  private next(): void {
    if (this.running || this.queue.length === 0 || this.stop.signal.aborted) return;
    this.runs = this.runs.filter((at) => this.clock() - at < MINUTE);
    if (this.runs.length >= this.config.perMinute) return;
    const notice = this.queue.shift();
    if (!notice) return;
    this.runs.push(this.clock());
    this.running = this.run(notice).finally(() => {
      this.running = null;
      this.next();
    });
  }

  private async run(notice: Notice): Promise<void> {
    const { command, timeout } = this.config;
    const [program, ...args] = command;
    const input = `${JSON.stringify(this.contentOf(notice))}\n`;
    try {
      const outcome = await runCommand({
        program,
        args,
        environment: {
          ...inheritedEnvironment(['LANG', 'LC_ALL']),
          SIGNPIPE_EVENT: notice.event,
          SIGNPIPE_STATE: notice.state,
          SIGNPIPE_CODE: notice.code ?? '',
          SIGNPIPE_TITLE: notice.title,
          SIGNPIPE_TEXT: notice.text,
        },
        input,
        timeoutMs: timeout,
        signal: this.stop.signal,
      });
      this.logOutcome(notice, outcome);
    } catch (error) {
      this.warn(notice, `cannot be started: ${messageOf(error)}`);
    }
  }

  private contentOf({ event, state, ...notice }: Notice): object {
    const { suppressed } = this;
    this.suppressed = 0;
    const { now, writer } = this.context;
    const signer = printable(writer.identity.name, 100);
    return { version: 1, event, state, at: now().toISOString(), signer, ...notice, suppressed };
  }

  private logOutcome(notice: Notice, { status, endedBy, stopped, diagnostics }: CommandOutcome): void {
    if (status === 0 || stopped === 'aborted') return;
    const said = printableLines(diagnostics.toString('utf8').trim(), 500);
    const how = status === null ? `was ended by ${endedBy ?? 'a signal'}` : `exited with status ${status}`;
    const reasons = { late: `did not end within ${this.config.timeout / 1000} s`, flood: 'wrote too much' };
    this.warn(notice, `${stopped ? reasons[stopped] : how}${said === '' ? '' : `: ${said}`}`);
  }

  private warn({ event }: Notice, how: string): void {
    const hint = 'run the program by hand, with a line of JSON on its standard input';
    this.context.log.warn({ code: 'notify-failed', event, hint }, `notify.command ${how}`);
  }
}

import { spawn, type ChildProcess } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { signpipe, watchSize, type Sample } from './measure.ts';
import { cpuOf, peakOf, resetPeak, signerCpu } from './process.ts';

/** One line of our signer's log. */
export interface LogLine {
  readonly time: string;
  readonly msg: string;
  readonly request?: string;
  /** The start of the poll that saw the request. */
  readonly polled?: string;
  readonly outcome?: string;
}

/** How long a request may take, in ms. */
const REQUEST_LIMIT = 600_000;
/** A signer that uses less CPU than this (in seconds) in half a second is idle. */
const AT_REST = 0.05;

const STAGE = /^(fetched|signed|delivered|answered)\b/;

/** The times between the lines of our signer's log, in seconds, by stage. */
export function stagesOf(lines: readonly LogLine[]): { [stage: string]: number } {
  const stages: { [stage: string]: number } = {};
  const add = (stage: string, from: string, to: string): void => {
    stages[stage] = (stages[stage] ?? 0) + (Date.parse(to) - Date.parse(from)) / 1000;
  };
  for (const [at, { time, msg, polled }] of lines.entries()) {
    const before = lines[at - 1];
    const word = STAGE.exec(msg)?.[1];
    if (polled !== undefined) add('seen', polled, time);
    else if (before && word !== undefined) add(word, before.time, time);
  }
  return stages;
}

export const parseLog = (log: string): LogLine[] =>
  log
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as LogLine);

/** Our signer in its own process: `signpipe watch`, polling at its default rate. */
export class RunningSigner {
  private readonly lines: LogLine[] = [];
  private readonly news = new EventEmitter();
  private rest = '';
  private complaints = '';
  private ended = false;

  private constructor(
    private readonly process: ChildProcess,
    readonly pid: number,
    private readonly state: string,
  ) {
    process.stdout?.on('data', (data: Buffer) => this.read(data.toString()));
    process.stderr?.on('data', (data: Buffer) => (this.complaints += data.toString()));
    process.once('close', () => {
      this.ended = true;
      this.news.emit('news');
    });
  }

  /** Starts it, and waits until it is idle. `state` is its state folder. */
  static async start(config: string, state: string): Promise<RunningSigner> {
    const [command = '', ...args] = signpipe('watch', '-c', config, '--json');
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    const signer = new RunningSigner(child, child.pid ?? 0, state);
    await signer.line(({ msg }) => msg === 'watching');
    await signer.settled();
    return signer;
  }

  private read(text: string): void {
    const whole = this.rest + text;
    const end = whole.lastIndexOf('\n') + 1;
    this.lines.push(...parseLog(whole.slice(0, end)));
    this.rest = whole.slice(end);
    this.news.emit('news');
  }

  /** The first line of the log that fits; waits for it if necessary. */
  async line(fits: (line: LogLine) => boolean): Promise<LogLine> {
    const signal = AbortSignal.timeout(REQUEST_LIMIT);
    for (;;) {
      const line = this.lines.find(fits);
      if (line) return line;
      if (this.ended) throw new Error(`the signer ended:\n${this.tail()}`);
      await once(this.news, 'news', { signal });
    }
  }

  private tail(): string {
    return this.lines
      .slice(-10)
      .map((line) => JSON.stringify(line))
      .join('\n')
      .concat(this.complaints.slice(-2000));
  }

  private async settled(): Promise<void> {
    for (;;) {
      const before = await cpuOf(this.pid);
      await sleep(500);
      if ((await cpuOf(this.pid)) - before < AT_REST) return;
    }
  }

  /** One request, from the poll that sees it until its receipt is pushed. `commit` commits it and returns its id. */
  async measureRequest(commit: () => Promise<string>): Promise<Sample> {
    const { pid } = this;
    await resetPeak(pid);
    const largest = watchSize(join(this.state, 'work'));
    const before = await signerCpu(pid, this.state);
    const request = await commit();
    const answered = await this.line((line) => line.request === request && line.outcome !== undefined);
    const [cpu, rss] = [(await signerCpu(pid, this.state)) - before, await peakOf(pid)];
    const scratch = await largest();
    if (answered.outcome !== 'signed') throw new Error(`not signed:\n${this.tail()}`);
    const seen = this.lines.findIndex((line) => line.request === request && line.polled !== undefined);
    const polled = this.lines[seen]?.polled ?? answered.time;
    const wall = (Date.parse(answered.time) - Date.parse(polled)) / 1000;
    const stages = stagesOf(this.lines.slice(seen, this.lines.indexOf(answered) + 1));
    return { wall, cpu, rss, scratch, stages };
  }

  /** When a request was seen, according to the log, in ms since the epoch. */
  async seenAt(request: string): Promise<number> {
    const { time } = await this.line((line) => line.request === request && line.polled !== undefined);
    return Date.parse(time);
  }

  /** Stops it as its service does. */
  async stop(): Promise<void> {
    if (this.ended) return;
    this.process.kill('SIGTERM');
    await once(this.process, 'close');
  }
}

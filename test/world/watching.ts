import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** The compiled program. */
export const main = resolve(import.meta.dirname, '../../dist/main.js');

/** One record of the signer's log. */
type LogRecord = Readonly<Record<string, unknown>> & { readonly msg: string };

/** `signpipe watch`, or another command that runs on, in its own process, with its log. */
export class Watching {
  readonly records: LogRecord[] = [];
  private readonly child: ChildProcess;
  private rest = '';

  constructor(config: string, env: NodeJS.ProcessEnv = {}, command = 'watch') {
    this.child = spawn(process.execPath, [main, command, '-c', config], {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.child.stdout?.on('data', (data: Buffer) => this.read(data.toString()));
  }

  private read(text: string): void {
    const lines = (this.rest + text).split('\n');
    this.rest = lines.pop() ?? '';
    for (const line of lines) this.records.push(JSON.parse(line) as LogRecord);
  }

  /** Waits for a record, from index `from` on, whose message matches; fails after `timeoutMs`. */
  async logged(message: RegExp, { from = 0, timeoutMs = 20_000 } = {}): Promise<LogRecord> {
    const end = performance.now() + timeoutMs;
    while (performance.now() < end) {
      const record = this.records.slice(from).find(({ msg }) => message.test(msg));
      if (record) return record;
      if (this.child.exitCode !== null) break;
      await sleep(20);
    }
    const lines = this.records.map(({ msg }) => msg).join('\n');
    throw new Error(`no line ${message} within ${timeoutMs} ms; logged:\n${lines}`);
  }

  signal(name: NodeJS.Signals): void {
    this.child.kill(name);
  }

  /** The exit status, once it has ended. */
  async ended(): Promise<number | null> {
    if (this.child.exitCode === null) await once(this.child, 'close');
    return this.child.exitCode;
  }

  /** Ends it with SIGTERM, and returns its exit status. */
  stop(): Promise<number | null> {
    if (this.child.exitCode === null) this.signal('SIGTERM');
    return this.ended();
  }
}

import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { atStop } from '../at-stop.ts';

/** In bytes. The longest useful answer is a signature: that of RSA-8192 has 1,368 characters in base64. */
const MAX_ANSWER = 16 * 1024;
/** In bytes: of what a program writes to standard error, how much is kept, and how much ends it. */
const KEPT_DIAGNOSTICS = 4 * 1024;
const MAX_DIAGNOSTICS = 1024 * 1024;
/** How long to read on after the program has ended, in milliseconds: a process that it left behind may hold its pipes. */
const DRAIN = 250;

export interface Command {
  /** An absolute path. */
  readonly program: string;
  readonly args: readonly string[];
  readonly environment: NodeJS.ProcessEnv;
  /** Written to its standard input. */
  readonly input: string;
  readonly timeoutMs: number;
  /** Ends the program. */
  readonly signal: AbortSignal;
}

/** How a program ended. */
export interface CommandOutcome {
  /** The exit status, or null if a signal ended it. */
  readonly status: number | null;
  /** The signal that ended it. */
  readonly endedBy: NodeJS.Signals | null;
  /** Why this process ended it, if it did: it took too long, it wrote too much, or `signal` was aborted. */
  readonly stopped: 'late' | 'flood' | 'aborted' | undefined;
  readonly answer: Buffer;
  /** The beginning of what it wrote to standard error. */
  readonly diagnostics: Buffer;
}

/** Reads a stream to its end and keeps its beginning; calls `flood` once after more than `most` bytes. */
function keepBeginning(stream: Readable, keep: number, most: number, flood: () => void): () => Buffer {
  const chunks: Buffer[] = [];
  let kept = 0;
  let size = 0;
  stream.on('error', () => {}); // What was read before counts.
  stream.on('data', (chunk: Buffer) => {
    if (size <= most && size + chunk.length > most) flood();
    size += chunk.length;
    const part = chunk.subarray(0, keep - kept);
    kept += part.length;
    if (part.length > 0) chunks.push(part);
  });
  return () => Buffer.concat(chunks);
}

/** Ends the program and what it started, unless that has left its process group. */
function killGroup({ pid }: ChildProcessWithoutNullStreams): void {
  if (pid === undefined) return;
  try {
    process.kill(process.platform === 'win32' ? pid : -pid, 'SIGKILL');
  } catch {
    // It has ended by itself.
  }
}

/** Waits until the pipes are closed; if a process that the program left behind holds them, ends that. */
async function drain(child: ChildProcessWithoutNullStreams, closed: Promise<unknown>): Promise<void> {
  if (await Promise.race([closed.then(() => true), delay(DRAIN, false)])) return;
  killGroup(child);
  child.stdout.destroy();
  child.stderr.destroy();
}

/**
 * Runs a program without a shell, in a process group and session of its own, so that it has no terminal to ask on.
 * Everything that it does is bounded: its time, its answer, its diagnostics. Rejects only if it cannot be started.
 */
export async function runCommand({
  program,
  args,
  environment,
  input,
  timeoutMs,
  signal,
}: Command): Promise<CommandOutcome> {
  const child = spawn(program, args, {
    env: environment,
    stdio: 'pipe',
    detached: process.platform !== 'win32',
    windowsHide: true,
  });
  const exited = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>;
  if (child.pid === undefined) await exited; // Rejects with the reason. There may be no pipes: no descriptor was left.
  let stopped: CommandOutcome['stopped'];
  const stop = (why: CommandOutcome['stopped']): void => {
    stopped ??= why;
    killGroup(child);
  };
  const flood = (): void => stop('flood');
  const answer = keepBeginning(child.stdout, MAX_ANSWER, MAX_ANSWER, flood);
  const diagnostics = keepBeginning(child.stderr, KEPT_DIAGNOSTICS, MAX_DIAGNOSTICS, flood);
  child.stdin.on('error', () => {}); // It need not read its input: its answer shows whether it did.
  child.stdin.end(input);
  const abort = (): void => stop('aborted');
  const timer = setTimeout(() => stop('late'), timeoutMs);
  signal.addEventListener('abort', abort, { once: true });
  const forget = atStop(() => killGroup(child));
  const closed = once(child, 'close');
  try {
    const [status, endedBy] = await exited;
    clearTimeout(timer);
    await drain(child, closed);
    return { status, endedBy, stopped, answer: answer(), diagnostics: diagnostics() };
  } finally {
    forget();
    clearTimeout(timer);
    signal.removeEventListener('abort', abort);
  }
}

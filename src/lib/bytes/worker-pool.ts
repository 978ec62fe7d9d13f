import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { SignpipeError, type ErrorKind } from '../errors.ts';
import type { Job, Result } from './extents.ts';

/** Why a job failed: one of our own errors where there is a kind, else the system's. */
export interface Fault {
  readonly kind?: ErrorKind;
  readonly code: string | undefined;
  readonly message: string;
}

/** What a thread says to a job. */
export type Answer = { readonly result: Result } | { readonly fault: Fault };

/** Compiled: what translates TypeScript while one develops does not reach into threads. */
const WORKER = new URL('./hash-worker.js', import.meta.url);

const MOST = Math.min(4, availableParallelism());

/** Whether a job can be done aside at all, with something gained. */
export const HAS_THREADS = import.meta.url.endsWith('.js') && MOST > 1;

/** A thread without work is kept so long, in milliseconds: starting one takes 30. */
const KEPT_IDLE = 5000;

interface Waiting {
  readonly job: Job;
  readonly resolve: (result: Result) => void;
  readonly reject: (error: Error) => void;
}

const queue: Waiting[] = [];
const threads = new Set<Thread>();

/**
 * Does a job on another thread; those that find none free wait for one in turn. Threads are started
 * when they are needed and hold the process only while they work. Files that the job names have to
 * stay open until this settles.
 */
export function onThread(job: Job): Promise<Result> {
  return new Promise((resolve, reject) => {
    queue.push({ job, resolve, reject });
    const free = [...threads].find(({ idle }) => idle) ?? (threads.size < MOST ? new Thread() : undefined);
    free?.next();
  });
}

class Thread {
  private readonly worker = new Worker(WORKER, { execArgv: [] });
  private doing: Waiting | undefined;
  private expiry: NodeJS.Timeout | undefined;

  constructor() {
    threads.add(this);
    this.worker.on('message', (answer: Answer) => this.take(answer));
    this.worker.on('error', (error) => this.end(error));
    this.worker.on('exit', () => this.end(new Error('a thread ended before its work was done')));
  }

  get idle(): boolean {
    return this.doing === undefined;
  }

  /** Begins with the next job, or rests. */
  next(): void {
    clearTimeout(this.expiry);
    this.doing = queue.shift();
    if (!this.doing) return this.rest();
    this.worker.ref();
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- threads have no origin
    this.worker.postMessage(this.doing.job);
  }

  private rest(): void {
    this.worker.unref();
    this.expiry = setTimeout(() => {
      threads.delete(this);
      void this.worker.terminate();
    }, KEPT_IDLE).unref();
  }

  private take(answer: Answer): void {
    const { doing } = this;
    this.next();
    if ('result' in answer) doing?.resolve(answer.result);
    else doing?.reject(errorFrom(answer.fault));
  }

  /** The thread is gone: with its job, but not with those of others. */
  private end(error: Error): void {
    clearTimeout(this.expiry);
    threads.delete(this);
    this.doing?.reject(error);
    this.doing = undefined;
    if (queue.length > 0 && threads.size === 0) new Thread().next();
  }
}

function errorFrom({ kind, code, message }: Fault): Error {
  if (kind !== undefined && code !== undefined) return new SignpipeError(kind, code, message);
  return Object.assign(new Error(message), { code });
}

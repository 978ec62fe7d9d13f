import { parentPort, Worker, type TransferListItem } from 'node:worker_threads';
import { messageOf, SignpipeError, type ErrorKind } from '../errors.ts';

/** The jobs of a worker script by name: functions from a job to its result, both plain data. */
type Jobs = Readonly<Record<string, (job: never) => unknown>>;

/** Whether there are worker scripts: only the build makes them, as loaders of TypeScript do not reach threads. */
export const HAS_WORKERS = import.meta.url.endsWith('.js');

/** An idle thread ends after this time in milliseconds; starting one takes 30. */
const IDLE_MS = 5000;

interface WorkerRequest {
  readonly name: string;
  readonly job: unknown;
}

/** An error as plain data: one of our own if it has a kind, else any other. */
interface WorkerFault {
  readonly kind: ErrorKind | undefined;
  readonly code: string | undefined;
  readonly message: string;
  readonly hint: string | undefined;
  /** The message of the cause. */
  readonly cause: string | undefined;
  readonly stack: string | undefined;
}

type WorkerReply = { readonly result: unknown } | { readonly fault: WorkerFault };

export interface WorkerPoolOptions {
  /** The most threads; each is started when it is first needed. */
  readonly threads: number;
  /** How many jobs a thread holds, one of them at work; 1 unless given. */
  readonly jobsPerThread?: number;
  /** Plain data for the script's `workerData`. */
  readonly data?: unknown;
}

interface QueuedJob {
  readonly request: WorkerRequest;
  readonly resolve: (result: never) => void;
  readonly reject: (error: Error) => void;
}

/** Threads that run one script, which calls `serveJobs`. They keep the process running only while they work. */
export class WorkerPool<J extends Jobs> {
  private readonly queue: QueuedJob[] = [];
  private readonly threads = new Set<Thread>();

  constructor(
    private readonly script: URL,
    private readonly options: WorkerPoolOptions,
  ) {}

  /** Does a job on a thread, in turn. An error of our own keeps its kind, code, message, hint and cause's message. */
  run<N extends keyof J & string>(name: N, job: Parameters<J[N]>[0]): Promise<Awaited<ReturnType<J[N]>>> {
    return new Promise((resolve, reject) => {
      this.queue.push({ request: { name, job }, resolve, reject });
      this.dispatch();
    });
  }

  /** Ends all threads, and with them the jobs that are not done. */
  async close(): Promise<void> {
    await Promise.all([...this.threads].map((thread) => thread.terminate()));
  }

  /** Hands queued jobs to idle threads, to new ones, or to those with room for one more, in this order. */
  private dispatch(): void {
    while (this.queue.length > 0) {
      const thread = this.freeThread();
      const next = thread && this.queue.shift();
      if (!next) return;
      thread.post(next);
    }
  }

  private freeThread(): Thread | undefined {
    const { threads, jobsPerThread = 1 } = this.options;
    const [least] = [...this.threads].sort((a, b) => a.load - b.load);
    if ((!least || least.load > 0) && this.threads.size < threads) return this.start();
    return least && least.load < jobsPerThread ? least : undefined;
  }

  private start(): Thread {
    const thread = new Thread(new Worker(this.script, { workerData: this.options.data, execArgv: [] }), {
      idle: () => this.dispatch(),
      gone: () => {
        this.threads.delete(thread);
        this.dispatch();
      },
    });
    this.threads.add(thread);
    return thread;
  }
}

interface ThreadEvents {
  /** A job is done. */
  readonly idle: () => void;
  /** The thread has ended or will end, and takes no more jobs. */
  readonly gone: () => void;
}

/** One thread; it does its jobs in the order in which it gets them. */
class Thread {
  private readonly jobs: QueuedJob[] = [];
  private expiry: NodeJS.Timeout | undefined;

  constructor(
    private readonly worker: Worker,
    private readonly events: ThreadEvents,
  ) {
    worker.on('message', (reply: WorkerReply) => this.settle(reply));
    worker.on('error', (error) => this.end(error));
    worker.on('exit', () => this.end(new Error('a thread ended before its work was done')));
  }

  /** The number of its jobs that are not done. */
  get load(): number {
    return this.jobs.length;
  }

  post(job: QueuedJob): void {
    clearTimeout(this.expiry);
    this.jobs.push(job);
    this.worker.ref();
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- threads have no origin
    this.worker.postMessage(job.request);
  }

  async terminate(): Promise<void> {
    await this.worker.terminate();
  }

  private settle(reply: WorkerReply): void {
    const job = this.jobs.shift();
    this.events.idle();
    if (this.jobs.length === 0) this.rest();
    if ('result' in reply) job?.resolve(reply.result as never);
    else job?.reject(errorFrom(reply.fault));
  }

  private rest(): void {
    this.worker.unref();
    this.expiry = setTimeout(() => {
      this.events.gone();
      void this.worker.terminate();
    }, IDLE_MS).unref();
  }

  /** The thread is lost together with its own jobs; those that are still queued go to other threads. */
  private end(error: Error): void {
    clearTimeout(this.expiry);
    for (const { reject } of this.jobs.splice(0)) reject(error);
    this.events.gone();
  }
}

/**
 * Serves jobs in a worker script, one after another. `transferred` names what of a result is transferred instead of
 * being copied.
 */
export function serveJobs<J extends Jobs>(
  jobs: J,
  transferred: (result: Awaited<ReturnType<J[keyof J]>>) => TransferListItem[] = () => [],
): void {
  let before: Promise<void> = Promise.resolve();
  parentPort?.on('message', (request: WorkerRequest) => {
    before = before.then(async () => {
      const reply = await replyTo(jobs, request);
      const list = 'result' in reply ? transferred(reply.result as Awaited<ReturnType<J[keyof J]>>) : [];
      parentPort?.postMessage(reply, list);
    });
  });
}

async function replyTo(jobs: Jobs, { name, job }: WorkerRequest): Promise<WorkerReply> {
  try {
    return { result: await jobs[name]?.(job as never) };
  } catch (error) {
    return { fault: faultFrom(error) };
  }
}

function faultFrom(error: unknown): WorkerFault {
  const { kind, hint } = error instanceof SignpipeError ? error : { kind: undefined, hint: undefined };
  const code = error instanceof Error && 'code' in error ? String(error.code) : undefined;
  const [cause, stack] = error instanceof Error ? [error.cause, error.stack] : [];
  return {
    kind,
    code,
    message: messageOf(error),
    hint,
    cause: cause === undefined ? undefined : messageOf(cause),
    stack,
  };
}

function errorFrom({ kind, code, message, hint, cause, stack }: WorkerFault): Error {
  const options = cause === undefined ? {} : { cause: new Error(cause) };
  const error =
    kind !== undefined && code !== undefined
      ? new SignpipeError(kind, code, message, { ...options, ...(hint === undefined ? {} : { hint }) })
      : Object.assign(new Error(message, options), code === undefined ? {} : { code });
  return stack === undefined ? error : Object.assign(error, { stack });
}

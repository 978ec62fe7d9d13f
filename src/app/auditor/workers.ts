import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { inOrder } from '../../lib/concurrency/in-order.ts';
import { SignpipeError, type ErrorKind } from '../../lib/errors.ts';
import type { Branches } from '../../protocol/control/repository.ts';
import { BatchPacker, type Batch } from './batch.ts';
import { auditReceipt, type ReceiptContext, type Step } from './receipt-audit.ts';

/** Receipts that one thread reads side by side; memory is bounded by so many of them. */
const WIDTH = 64;
/** Receipts that a thread takes at once, and that are told together. */
const BATCH = 100;
/** Fewer are done before a second thread is up. */
const WORTH_IT = 1500;
const MOST_THREADS = 4;

/** What a thread needs to judge receipts: a `ReceiptContext` as data. */
export interface CrewSetup {
  readonly path: string;
  readonly branches: Branches;
  readonly allowed: SignerList;
  readonly receiptSigners: SignerList;
  readonly onlyKey: string | null;
  readonly now: Date;
}

/** An allowed signers file. */
export interface SignerList {
  readonly name: string;
  readonly text: string;
}

/** What a thread answers: a batch judged, or why it could not. */
export type CrewAnswer =
  | { readonly batch: Batch }
  | { readonly fault: { kind: ErrorKind; code: string; message: string; hint: string | undefined } };

/** Judges the receipts of a line, oldest first, the branch's first commit before them, on as many threads as it is worth. */
export async function* auditReceipts(
  context: ReceiptContext,
  line: readonly string[],
): AsyncGenerator<Batch> {
  const threads = Math.min(MOST_THREADS, availableParallelism());
  if (threads === 1 || line.length <= WORTH_IT || !HAS_THREADS) {
    for (const steps of batchesOf(line)) yield auditBatch(context, steps);
    return;
  }
  const crew = new Crew(threads, setupOf(context));
  try {
    yield* inOrder(crew.tasks(line), threads * 2);
  } finally {
    await crew.close();
  }
}

/** A batch of them, on this thread. */
export async function auditBatch(context: ReceiptContext, steps: readonly Step[]): Promise<Batch> {
  const packer = new BatchPacker();
  const tasks = steps.map((step) => () => auditReceipt(context, step));
  for await (const audited of inOrder(tasks, WIDTH)) packer.add(audited);
  return packer.batch();
}

/** The commits of a line behind its first, each with the one that it should follow. */
function* batchesOf(line: readonly string[]): Generator<Step[]> {
  for (let at = 1; at < line.length; at += BATCH)
    yield line.slice(at, at + BATCH).map((id, i) => ({ id, previous: line[at + i - 1] ?? '' }));
}

const list = ({ name, text }: SignerList): SignerList => ({ name, text });

function setupOf({ repository, allowed, receiptSigners, onlyKey, now }: ReceiptContext): CrewSetup {
  return {
    path: repository.path,
    branches: repository.branches,
    allowed: list(allowed),
    receiptSigners: list(receiptSigners),
    onlyKey,
    now,
  };
}

/** Compiled: what translates TypeScript while one develops does not reach into threads. */
const WORKER = new URL('./audit-worker.js', import.meta.url);
const HAS_THREADS = import.meta.url.endsWith('.js');

/** Threads that judge batches of receipts, each with a git process of its own. */
class Crew {
  private readonly members: Member[];

  constructor(threads: number, setup: CrewSetup) {
    this.members = Array.from({ length: threads }, () => new Member(setup));
  }

  /** One task for each batch, handed round in turn. */
  *tasks(line: readonly string[]): Generator<() => Promise<Batch>> {
    let turn = 0;
    for (const steps of batchesOf(line)) {
      const member = this.members[turn++ % this.members.length];
      if (member) yield () => member.audit(steps);
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.members.map((member) => member.close()));
  }
}

interface Waiting {
  readonly resolve: (batch: Batch) => void;
  readonly reject: (error: Error) => void;
}

/** One thread; it answers batches in the order in which it gets them. */
class Member {
  private readonly worker: Worker;
  private readonly waiting: Waiting[] = [];

  constructor(setup: CrewSetup) {
    this.worker = new Worker(WORKER, { workerData: setup });
    this.worker.on('message', (answer: CrewAnswer) => this.take(answer));
    this.worker.on('error', (error) => this.fail(error));
    this.worker.on('exit', () =>
      this.fail(new Error('a thread of the audit ended before its work was done')),
    );
  }

  audit(steps: readonly Step[]): Promise<Batch> {
    return new Promise((resolve, reject) => {
      this.waiting.push({ resolve, reject });
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- threads have no origin
      this.worker.postMessage(steps);
    });
  }

  async close(): Promise<void> {
    await this.worker.terminate();
  }

  private take(answer: CrewAnswer): void {
    const waiting = this.waiting.shift();
    if ('batch' in answer) return waiting?.resolve(answer.batch);
    const { kind, code, message, hint } = answer.fault;
    waiting?.reject(new SignpipeError(kind, code, message, hint === undefined ? {} : { hint }));
  }

  private fail(error: Error): void {
    for (const { reject } of this.waiting.splice(0)) reject(error);
  }
}

import { availableParallelism } from 'node:os';
import { inOrder } from '../../lib/concurrency/in-order.ts';
import { HAS_WORKERS, WorkerPool } from '../../lib/concurrency/worker-pool.ts';
import type { Branches } from '../../protocol/control/repository.ts';
import {
  auditReceipt,
  type ReceiptContext,
  type ReceiptCommit,
  type AuditedReceipt,
} from './receipt-audit.ts';
import { RowCompressor, type RowChunk } from './compressed-rows.ts';
import type { AuditRow } from './model.ts';

/** Receipts that one thread reads at the same time; they bound the memory it takes. */
const WIDTH = 64;
/** Receipts that a thread gets at once, and whose rows are compressed together. */
const BATCH = 100;
/** Fewer receipts are judged before a second thread has started. */
const WORTH_A_THREAD = 1500;
const MOST_THREADS = 4;
/** Batches that each thread has: one in progress, one queued. */
const BATCHES_PER_THREAD = 2;

/** The fields of an answer that are checked against the rest of the history. */
export type AuditedAnswer = Pick<
  AuditRow,
  'request' | 'receipt' | 'claimed' | 'askedBy' | 'vouchedBy' | 'repeats'
>;

/** A receipt that was checked alone and against its request, without its row. */
export interface JudgedReceipt extends Omit<AuditedReceipt, 'row'> {
  /** Null for a commit that does not look like an answer and has no row. */
  readonly answer: AuditedAnswer | null;
}

/** Receipts in order, and the rows of those that have one; plain data, for other threads. */
export interface ReceiptBatch {
  readonly receipts: readonly JudgedReceipt[];
  readonly chunks: readonly RowChunk[];
}

const answerOf = ({ request, receipt, claimed, askedBy, vouchedBy, repeats }: AuditRow): AuditedAnswer => ({
  request,
  receipt,
  claimed,
  askedBy,
  vouchedBy,
  repeats,
});

/** Collects receipts and compresses their rows. */
class BatchBuilder {
  private readonly receipts: JudgedReceipt[] = [];
  private readonly rows = new RowCompressor();

  add({ row, ...judged }: AuditedReceipt): void {
    if (row) this.rows.add(row);
    this.receipts.push({ ...judged, answer: row && answerOf(row) });
  }

  /** Everything that was added. */
  batch(): ReceiptBatch {
    return { receipts: this.receipts, chunks: this.rows.flush() };
  }
}

/** What a thread needs to judge receipts: a `ReceiptContext` as plain data. */
export interface AuditSetup {
  readonly path: string;
  readonly branches: Branches;
  readonly requests: string | null;
  readonly allowed: SignerList;
  readonly receiptSigners: SignerList;
  readonly onlyKey: string | null;
  readonly now: Date;
}

/** An allowed signers file. */
interface SignerList {
  readonly name: string;
  readonly text: string;
}

/** The jobs of the worker script. */
export type AuditJobs = { readonly audit: (commits: readonly ReceiptCommit[]) => Promise<ReceiptBatch> };

/**
 * Judges receipts, given commits of the branch in order, oldest first; the first is the one before them. Only for speed, many receipts
 * are judged on several threads, each with a git process of its own.
 */
export async function* auditReceipts(
  context: ReceiptContext,
  commits: readonly string[],
): AsyncGenerator<ReceiptBatch> {
  const threads = Math.min(MOST_THREADS, availableParallelism());
  if (threads === 1 || commits.length <= WORTH_A_THREAD || !HAS_WORKERS) {
    for (const batch of batchesOf(commits)) yield auditBatch(context, batch);
    return;
  }
  const pool = new WorkerPool<AuditJobs>(new URL('./audit-worker.js', import.meta.url), {
    threads,
    jobsPerThread: BATCHES_PER_THREAD,
    data: setupOf(context),
  });
  const tasks = function* (): Generator<() => Promise<ReceiptBatch>> {
    for (const batch of batchesOf(commits)) yield () => pool.run('audit', batch);
  };
  try {
    yield* inOrder(tasks(), threads * BATCHES_PER_THREAD);
  } finally {
    await pool.close();
  }
}

/** Judges a batch of receipts on this thread. */
export async function auditBatch(
  context: ReceiptContext,
  batch: readonly ReceiptCommit[],
): Promise<ReceiptBatch> {
  const builder = new BatchBuilder();
  const tasks = batch.map((commit) => () => auditReceipt(context, commit));
  for await (const audited of inOrder(tasks, WIDTH)) builder.add(audited);
  return builder.batch();
}

/** The commits after the first one, each with its predecessor, in batches. */
function* batchesOf(commits: readonly string[]): Generator<ReceiptCommit[]> {
  for (let at = 1; at < commits.length; at += BATCH)
    yield commits.slice(at, at + BATCH).map((id, i) => ({ id, previous: commits[at + i - 1] ?? '' }));
}

const list = ({ name, text }: SignerList): SignerList => ({ name, text });

function setupOf({
  repository,
  requests,
  allowed,
  receiptSigners,
  onlyKey,
  now,
}: ReceiptContext): AuditSetup {
  return {
    path: repository.path,
    branches: repository.branches,
    requests,
    allowed: list(allowed),
    receiptSigners: list(receiptSigners),
    onlyKey,
    now,
  };
}

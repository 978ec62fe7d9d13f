import { RowCompressor, type RowChunk } from './compressed-rows.ts';
import type { AuditRow } from './model.ts';
import type { AuditedReceipt } from './receipt-audit.ts';

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
export interface Batch {
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
export class BatchBuilder {
  private readonly receipts: JudgedReceipt[] = [];
  private readonly rows = new RowCompressor();

  add({ row, ...judged }: AuditedReceipt): void {
    if (row) this.rows.add(row);
    this.receipts.push({ ...judged, answer: row && answerOf(row) });
  }

  /** Everything that was added. */
  batch(): Batch {
    return { receipts: this.receipts, chunks: this.rows.flush() };
  }
}

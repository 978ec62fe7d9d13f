import { RowPacker, type Pack } from './compressed-rows.ts';
import type { AuditRow } from './model.ts';
import type { AuditedReceipt } from './receipt-audit.ts';

/** What of an answer the rest of the history is held to. */
export type Answer = Pick<AuditRow, 'request' | 'receipt' | 'claimed' | 'askedBy' | 'vouchedBy' | 'repeats'>;

/** A receipt that was judged by itself and by its request, without what only its row tells. */
export interface JudgedReceipt extends Omit<AuditedReceipt, 'row'> {
  /** Null for a commit that does not even look like an answer, and has no row. */
  readonly answer: Answer | null;
}

/** Receipts in their order, and the rows of those that have one. Made of nothing but data. */
export interface Batch {
  readonly receipts: readonly JudgedReceipt[];
  readonly packs: readonly Pack[];
}

const answerOf = ({ request, receipt, claimed, askedBy, vouchedBy, repeats }: AuditRow): Answer => ({
  request,
  receipt,
  claimed,
  askedBy,
  vouchedBy,
  repeats,
});

/** Gathers receipts; each row is packed as it comes. */
export class BatchPacker {
  private readonly receipts: JudgedReceipt[] = [];
  private readonly rows = new RowPacker();

  add({ row, ...judged }: AuditedReceipt): void {
    if (row) this.rows.add(row);
    this.receipts.push({ ...judged, answer: row && answerOf(row) });
  }

  /** What was added. */
  batch(): Batch {
    return { receipts: this.receipts, packs: this.rows.take() };
  }
}

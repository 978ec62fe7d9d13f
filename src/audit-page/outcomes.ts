/** The outcomes in the page's order, which differs from the model's, and what each means. */
import type { RowOutcome } from '../app/auditor/model.ts';

export const OUTCOMES: readonly RowOutcome[] = ['signed', 'waiting', 'failed', 'rejected', 'unproven'];

export const MEANING: Readonly<Record<RowOutcome, string>> = {
  signed: 'signed and delivered',
  waiting: 'not answered yet',
  failed: 'something was down; nothing was delivered',
  rejected: 'refused for good',
  unproven: 'there is a receipt, and it does not hold',
};

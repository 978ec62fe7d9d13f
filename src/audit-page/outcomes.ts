/** The outcomes in the order of the page, which differs from the model's, and their meaning. */
import type { RowOutcome } from '../app/auditor/model.ts';

export const OUTCOMES: readonly RowOutcome[] = ['signed', 'waiting', 'failed', 'rejected', 'unproven'];

export const MEANING: Readonly<Record<RowOutcome, string>> = {
  signed: 'signed and delivered',
  waiting: 'not answered yet',
  failed: 'a service was down; nothing was delivered',
  rejected: 'refused permanently',
  unproven: 'there is a receipt, but it is not proven',
};

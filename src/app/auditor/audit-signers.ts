import type { AllowedSigners } from '../../lib/sshsig/allowed-signers.ts';

/** Whose signatures count in an audit. */
export interface AuditSigners {
  /** Who may sign requests and vouches, and receipts unless `receiptSigners` is given. */
  readonly allowed: AllowedSigners;
  readonly receiptSigners?: AllowedSigners;
}

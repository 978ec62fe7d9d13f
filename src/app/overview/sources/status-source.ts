import type { SignerHealth } from '../../signer/state/health.ts';
import type { Overview } from '../model.ts';

/** What `status` shows at one moment. */
export interface StatusReport {
  /** Null if there is no clone yet. */
  readonly overview: Overview | null;
  /** What the signer reports in its own state folder; only for its operator. */
  readonly health?: SignerHealth & { readonly running: boolean; readonly silent: boolean };
  /** What this reader cannot see, and how to change that. */
  readonly notes: readonly string[];
}

/** Reads the status of a site for one kind of reader, as often as it is asked. */
export interface StatusSource {
  read(now: Date): Promise<StatusReport>;
  close(): Promise<void>;
}

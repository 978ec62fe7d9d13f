/** Why a request waits. */
export interface ClosedGate {
  readonly open: false;
  readonly why: string;
  /** Stable and machine-readable, for reasons that have one. */
  readonly code?: string;
}

export const closed = (why: string): ClosedGate => ({ open: false, why });

/** Why a request waits. */
export interface UnmetPrecondition {
  readonly open: false;
  readonly why: string;
  /** Stable and machine-readable, for reasons that have one. */
  readonly code?: string;
}

export const closed = (why: string): UnmetPrecondition => ({ open: false, why });

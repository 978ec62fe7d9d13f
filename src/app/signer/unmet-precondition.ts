/** Why a request waits. */
export interface UnmetPrecondition {
  readonly met: false;
  readonly why: string;
  /** Stable and machine-readable, for reasons that have one. */
  readonly code?: string;
}

export const unmet = (why: string): UnmetPrecondition => ({ met: false, why });

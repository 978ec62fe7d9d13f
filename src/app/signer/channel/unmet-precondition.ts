/** Why a request waits. */
export interface UnmetPrecondition {
  readonly met: false;
  readonly why: string;
  /** A stable code, if the reason has one. */
  readonly code?: string;
}

export const unmet = (why: string): UnmetPrecondition => ({ met: false, why });

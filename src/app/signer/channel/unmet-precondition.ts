/** Why a request waits. */
export interface UnmetPrecondition {
  readonly met: false;
  readonly why: string;
  /** A stable code. */
  readonly code: string;
}

export const unmet = (code: string, why: string): UnmetPrecondition => ({ met: false, code, why });

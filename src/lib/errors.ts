/**
 * The one error that signpipe throws on purpose.
 *
 * The kind says who has to act, and decides the exit status and a request's outcome:
 *
 * | kind          | what it means                                                | exit | request  |
 * | ------------- | ------------------------------------------------------------ | ---- | -------- |
 * | `usage`       | the command line, the configuration or a key is wrong        | 2    | (waits)  |
 * | `invalid`     | the bytes are broken: not a zip, a digest that differs, ...  | 3    | rejected |
 * | `not-allowed` | well formed, but policy says no                              | 3    | rejected |
 * | `alarm`       | history was rewound, rewritten or forged: stop               | 3    | (stops)  |
 * | `unavailable` | something outside is down; trying again can help             | 1    | failed   |
 * | `local`       | something on this machine failed: disk, permissions, a bug   | 1    | failed   |
 * | `timeout`     | the time that was allowed for waiting has passed             | 4    | (none)   |
 */
export type ErrorKind = 'usage' | 'invalid' | 'not-allowed' | 'alarm' | 'unavailable' | 'local' | 'timeout';

export interface ErrorDetails {
  /** What a person can do about it: one sentence, no full stop needed. */
  hint?: string;
  /** The error below this one, kept for `-v` and the log. */
  cause?: unknown;
}

const EXIT_STATUS: Record<ErrorKind, number> = {
  usage: 2,
  invalid: 3,
  'not-allowed': 3,
  alarm: 3,
  unavailable: 1,
  local: 1,
  timeout: 4,
};

/**
 * `code` is stable and machine-readable (`zip-entry-encrypted`); `message` is for people: what
 * happened, and to which file or request. Messages never hold secrets.
 */
export class SignpipeError extends Error {
  readonly kind: ErrorKind;
  readonly code: string;
  readonly hint: string | undefined;

  constructor(kind: ErrorKind, code: string, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'SignpipeError';
    this.kind = kind;
    this.code = code;
    this.hint = details.hint;
  }

  /** Whether the same action can succeed later without any change. */
  get retryable(): boolean {
    return this.kind === 'unavailable';
  }

  get exitStatus(): number {
    return EXIT_STATUS[this.kind];
  }

  /** A copy with message and hint changed by a function, for readers who may see less. */
  reworded(change: (text: string) => string): SignpipeError {
    return this.saying(change(this.message), this.hint === undefined ? undefined : change(this.hint));
  }

  /** A copy with another message and hint, for another reader. */
  saying(message: string, hint: string | undefined): SignpipeError {
    return new SignpipeError(this.kind, this.code, message, {
      ...(hint === undefined ? {} : { hint }),
      cause: this.cause,
    });
  }
}

/** Broken bytes from outside, refused under any policy. */
export const invalid = (code: string, message: string, details?: ErrorDetails): SignpipeError =>
  new SignpipeError('invalid', code, message, details);

/** Valid input that the policy does not permit. */
export const notAllowed = (code: string, message: string, details?: ErrorDetails): SignpipeError =>
  new SignpipeError('not-allowed', code, message, details);

/** A remote that is down, slow or refusing; trying again can help. */
export const unavailable = (code: string, message: string, details?: ErrorDetails): SignpipeError =>
  new SignpipeError('unavailable', code, message, details);

/** A mistake on the command line, in the configuration, or in a key file. */
export const usage = (code: string, message: string, details?: ErrorDetails): SignpipeError =>
  new SignpipeError('usage', code, message, details);

/**
 * The same error, but of kind `local` instead of `usage`, for one that is thrown when a signature was asked for: an error in
 * the configuration lets a request wait and be tried again at each poll, and each attempt would cost a signature, or a try
 * at a PIN. The request is answered instead.
 */
export function answeredNow(error: unknown): unknown {
  if (!(error instanceof SignpipeError) || error.kind !== 'usage') return error;
  const { code, message, hint, cause = error } = error;
  return new SignpipeError('local', code, message, { ...(hint === undefined ? {} : { hint }), cause });
}

/** Whether an error refuses what was read, rather than reporting that it could not be read or judged. */
export const isRefused = (error: unknown): error is SignpipeError =>
  error instanceof SignpipeError && (error.kind === 'invalid' || error.kind === 'not-allowed');

/** Whether an error says that bytes from outside are broken. */
export const isInvalid = (error: unknown): error is SignpipeError =>
  error instanceof SignpipeError && error.kind === 'invalid';

/** Whether an error says that history was rewritten or forged: work must stop. */
export const isAlarm = (error: unknown): error is SignpipeError =>
  error instanceof SignpipeError && error.kind === 'alarm';

/** The text of anything that was thrown, for a message's tail. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** A Node system error (`ENOENT`, `ECONNREFUSED`, ...), by its code. */
export function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}

import { invalid, SignpipeError } from '../../lib/errors.ts';

/**
 * Runs `read` and reports the errors of the layers below (DER, CMS, X.509) under `code`; those that have a code of
 * their own (`timestamp-`) stay as they are.
 */
export function withTimestampCode<T>(code: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof SignpipeError) || error.code.startsWith('timestamp-')) throw error;
    throw invalid(code, error.message, { cause: error });
  }
}

import { isInvalid } from '../../../lib/errors.ts';
import { authenticode } from '../../authenticode/cms-scheme.ts';
import { parseToken } from '../../timestamp/token/token.ts';

/** When a signature was made, by its timestamp, or else by its signer; null if neither says so, or it cannot be read. */
export function signatureTime(der: Buffer, what: string): Date | null {
  try {
    const { timestamps, signingTime } = authenticode.read(der, what);
    const [token] = timestamps;
    return token ? parseToken(token, what).info.time : (signingTime ?? null);
  } catch (error) {
    if (isInvalid(error)) return null;
    throw error;
  }
}

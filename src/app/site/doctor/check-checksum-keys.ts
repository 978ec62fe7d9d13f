import { expiryOf } from '../../../lib/x509/expiry.ts';
import type { ChecksumKey } from '../../../engine/checksums/checksum-key.ts';
import { checksumKeyOpeners } from '../../../engine/checksums/open-checksum-keys.ts';
import type { ChecksumsConfig } from '../../config/checksums.ts';
import { ok, resultOf, silent, warning, type CheckResult } from './check-result.ts';

/** With fewer days left, the check warns: users must learn of another key. */
const EXPIRES_SOON = 30;

function validity({ kind, id, expires }: ChecksumKey, now: Date, duration: number): CheckResult {
  const signs = `${kind}: ${id} signs, ${duration} ms`;
  if (expires === null) return ok(`${signs}; it does not expire`);
  const { days, text } = expiryOf({ notAfter: expires }, now);
  const until = `${signs}; ${text}`;
  return days < EXPIRES_SOON
    ? warning('checksum-key-expires-soon', until, 'extend it, and publish its public key again')
    : ok(until);
}

/** Checks that each key for checksum files opens and signs (every signature is verified), and how long it is valid. */
export async function checkChecksumKeys(section: ChecksumsConfig, now: Date): Promise<CheckResult[]> {
  const results: CheckResult[] = [];
  for (const open of checksumKeyOpeners(section, { warn: silent, now })) {
    try {
      const key = await open();
      const start = performance.now();
      await key.sign(Buffer.from('a test by signpipe doctor\n'), 'SHA256SUMS');
      results.push(validity(key, now, Math.round(performance.now() - start)));
    } catch (error) {
      results.push(resultOf(error));
    }
  }
  return results.length > 0 ? results : [ok('checksum files are not signed: the section names no key')];
}

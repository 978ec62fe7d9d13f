import { certificateFindings, type CertificateFinding } from '../../../lib/x509/certificate-findings.ts';
import { expiryOf } from '../../../lib/x509/expiry.ts';
import { requireUsable, type SigningKey } from '../../../engine/keys/signing-key.ts';
import { ok, resultOf, warning, type CheckResult } from './check-result.ts';

/** What to do about a certificate that ends soon. */
const RENEW =
  'have it renewed now, and name the next certificate in signing.successor: the signer then changes to it without a gap';

/** A finding about a certificate as a warning. */
export const findingResult = ({ code, message, hint }: CertificateFinding): CheckResult =>
  warning(code, message, hint);

interface ValidityOptions {
  readonly now: Date;
  /** When it is to sign; now unless given. */
  readonly at?: Date;
  /** What covers its end; then that is no reason for a warning. */
  readonly covered?: string | undefined;
}

/** Whether the certificate of a key may sign programs at a time, and how long it lasts. */
export function checkValidity(key: SigningKey, { now, at = now, covered }: ValidityOptions): CheckResult[] {
  const [leaf] = key.certificates;
  if (!leaf) return [];
  const { threshold, text } = expiryOf(leaf, now);
  if (key.shortLived) return [ok(`${text}; the service sends another one with each signature`)];
  if (covered !== undefined) return [ok(`${text}; ${covered}`)];
  try {
    requireUsable(key, at);
  } catch (error) {
    return [resultOf(error)];
  }
  if (threshold === null) return [ok(text)];
  return [warning('certificate-expires-soon', `${text}: within ${threshold} days of its end`, RENEW)];
}

/** What the owner of a signing certificate should know about it. */
export const checkCertificate = ({ certificates: [leaf] }: SigningKey): CheckResult[] =>
  leaf ? certificateFindings(leaf).map(findingResult) : [];

import { isoDay } from '../iso-day.ts';
import { printable } from '../printable.ts';
import type { Certificate } from './certificate.ts';
import type { CertificateFinding } from './certificate-findings.ts';
import { certificateIdentity, identityText, isSameIdentity } from './certificate-identity.ts';

/** A signing certificate, the next one, and when it is to take over. */
export interface Succession {
  readonly current: Certificate;
  readonly next: Certificate;
  readonly from: Date;
}

const nameOf = (certificate: Certificate): string =>
  printable(identityText(certificateIdentity(certificate)), 400);

function same({ current, next }: Succession): CertificateFinding | null {
  if (!current.equals(next)) return null;
  return {
    code: 'successor-same',
    message: 'signing.successor is the certificate in use',
    hint: 'name the next certificate there, or remove signing.successor',
  };
}

function otherIdentity({ current, next }: Succession): CertificateFinding | null {
  if (isSameIdentity(certificateIdentity(current), certificateIdentity(next))) return null;
  return {
    code: 'successor-other-identity',
    message: `signing.successor has another identity: ${nameOf(next)}; in use is ${nameOf(current)}`,
    hint: 'if that is intended, inform everyone who checks the identity before the change: policy.json names both',
  };
}

/** Whether a certificate that is not for tests has another key than an earlier one with the same subject. */
const hasNewKey = (earlier: Certificate, next: Certificate): boolean =>
  !next.isTest &&
  earlier.subjectDer.equals(next.subjectDer) &&
  !earlier.publicKeyDer.equals(next.publicKeyDer);

const AGAIN = 'SmartScreen may begin its reputation again';
const EXPECT = 'sign releases with few downloads first, and expect warnings of SmartScreen for some weeks';

function newKey({ current, next }: Succession): CertificateFinding | null {
  if (!hasNewKey(current, next)) return null;
  return {
    code: 'successor-new-key',
    message: `signing.successor has a new key under the old subject: ${AGAIN}`,
    hint: EXPECT,
  };
}

/** A new key under the subject of the certificate that signed what the newest receipt names: `certificate-new-key`. */
export function newKeyFinding(last: Certificate, inUse: Certificate): CertificateFinding | null {
  if (!hasNewKey(last, inUse)) return null;
  return {
    code: 'certificate-new-key',
    message: `its key is not that of the newest receipt under the same subject: ${AGAIN}`,
    hint: EXPECT,
  };
}

function late({ current, from }: Succession): CertificateFinding | null {
  if (from <= current.notAfter) return null;
  return {
    code: 'successor-late',
    message: `signing.successor.from is ${isoDay(from)}, after the certificate in use expires on ${isoDay(current.notAfter)}: the successor takes over then`,
    hint: 'set signing.successor.from to a day before',
  };
}

/** When the next certificate takes over: at `from`, or when the current one ends, whichever comes first. */
export const changeAt = ({ current, from }: Succession): Date =>
  from < current.notAfter ? from : current.notAfter;

function gap(succession: Succession): CertificateFinding | null {
  const { next } = succession;
  const at = changeAt(succession);
  if (next.notBefore <= at) return null;
  return {
    code: 'successor-gap',
    message: `nothing can be signed from ${at.toISOString()} until ${next.notBefore.toISOString()}, when signing.successor becomes valid`,
    hint: 'set signing.successor.from to a time when it is valid, or have it issued earlier',
  };
}

/**
 * What the operator of a signer should know about a change of certificates: `successor-same`, `successor-other-identity`,
 * `successor-new-key`, `successor-late`, `successor-gap`.
 */
export function successorFindings(succession: Succession): CertificateFinding[] {
  const rules = same(succession) ? [same] : [otherIdentity, newKey, late, gap];
  return rules.map((rule) => rule(succession)).filter((finding) => finding !== null);
}

import { OID } from '../asn1/oids.ts';
import { isInvalid } from '../errors.ts';
import { isoDay } from '../iso-day.ts';
import type { Certificate } from './certificate.ts';
import { readPolicies } from './certificate-fields.ts';

/** Something about a signing certificate that its owner should know; no error. */
export interface CertificateFinding {
  readonly code: string;
  readonly message: string;
  readonly hint: string;
}

const DAY = 86_400_000;

/** The CA/Browser Forum's requirements for code signing, by when a certificate has to meet them. */
const RULES = {
  /** RSA of 3072 bits or more; each certificate names one of the reserved policies. */
  strong: Date.UTC(2021, 5, 1),
  /** Validity of 460 days at most. */
  short: Date.UTC(2026, 2, 1),
};
const MIN_RSA_BITS = 3072;
const MAX_DAYS = 460;

/** Policies that public authorities put into each code-signing certificate, and no other authority may. */
const RESERVED: ReadonlySet<string> = new Set<string>([OID.codeSigningPolicy, OID.extendedValidation]);

/** Policies that cannot be read count as none: they are no reason to refuse a certificate here. */
function isPublic({ extensions, subject }: Certificate): boolean {
  try {
    return readPolicies(extensions, subject).some((policy) => RESERVED.has(policy));
  } catch (error) {
    if (isInvalid(error)) return false;
    throw error;
  }
}

/** The kind of a certificate's key, and the bits of an RSA modulus; null if OpenSSL cannot read the key. */
function keyOf(certificate: Certificate): { type: string | undefined; bits: number | undefined } | null {
  try {
    const { asymmetricKeyType: type, asymmetricKeyDetails: details } = certificate.publicKey;
    return { type, bits: details?.modulusLength };
  } catch {
    return null;
  }
}

function ellipticCurve(certificate: Certificate): CertificateFinding | null {
  if (keyOf(certificate)?.type !== 'ec') return null;
  return {
    code: 'certificate-ec',
    message: 'its key is an EC key, which App Control and Smart App Control do not accept',
    hint: 'have the next certificate issued for an RSA key of 3072 bits or more, if programs must run under these',
  };
}

function shortRsa(certificate: Certificate): CertificateFinding | null {
  const { type, bits = MIN_RSA_BITS } = keyOf(certificate) ?? {};
  if (type !== 'rsa' || bits >= MIN_RSA_BITS) return null;
  if (certificate.notBefore.getTime() < RULES.strong) return null;
  return {
    code: 'certificate-rsa-short',
    message: `its RSA key has ${bits} bits: public authorities must not certify fewer than ${MIN_RSA_BITS} since 2021-06-01`,
    hint: 'ask the authority why, and have it issued again for a key of 3072 or 4096 bits',
  };
}

function longValidity({ notBefore, notAfter }: Certificate): CertificateFinding | null {
  const days = (notAfter.getTime() - notBefore.getTime()) / DAY;
  if (notBefore.getTime() < RULES.short || Math.floor(days) <= MAX_DAYS) return null;
  return {
    code: 'certificate-valid-long',
    message: `it is valid for ${Math.floor(days)} days, from ${isoDay(notBefore)} on: public authorities must not issue for more than ${MAX_DAYS} since 2026-03-01`,
    hint: 'ask the authority why: it may have to revoke it',
  };
}

const notPublic = ({ notBefore }: Certificate): CertificateFinding | null =>
  notBefore.getTime() < RULES.strong
    ? null
    : {
        code: 'certificate-not-public',
        message: `it names no reserved policy of public authorities (${[...RESERVED].join(', ')}): Windows trusts it only on machines with its root`,
        hint: 'for programs that are distributed, get a certificate from a public authority',
      };

function lifetimeSigning({ extendedKeyUsage, notAfter }: Certificate): CertificateFinding | null {
  if (!extendedKeyUsage?.includes(OID.lifetimeSigning)) return null;
  return {
    code: 'certificate-lifetime-signing',
    message: `it has the Lifetime Signing purpose: its signatures become invalid when it expires on ${isoDay(notAfter)}, whatever their timestamps say`,
    hint: 'have it issued without the purpose 1.3.6.1.4.1.311.10.3.13, unless its signatures are meant to become invalid then',
  };
}

/**
 * What the owner of a signing certificate should know. A certificate counts as one of a public authority if it names a
 * policy that is reserved for these. Rules apply to certificates that were issued when they were in force; test
 * certificates have no findings.
 *
 * | code                           | meaning                                                                         |
 * | ------------------------------ | ------------------------------------------------------------------------------- |
 * | `certificate-ec`               | App Control for Business and Smart App Control accept no EC keys                |
 * | `certificate-rsa-short`        | of a public authority, and RSA below 3072 bits                                  |
 * | `certificate-valid-long`       | of a public authority, issued after 2026-03-01, and valid for more than 460 days |
 * | `certificate-not-public`       | no reserved policy: no public authority issued it                               |
 * | `certificate-lifetime-signing` | signatures become invalid when it expires, in spite of timestamps               |
 */
export function certificateFindings(leaf: Certificate): CertificateFinding[] {
  if (leaf.isTest) return [];
  const rules = isPublic(leaf) ? [shortRsa, longValidity] : [notPublic];
  return [ellipticCurve, ...rules, lifetimeSigning]
    .map((rule) => rule(leaf))
    .filter((finding) => finding !== null);
}

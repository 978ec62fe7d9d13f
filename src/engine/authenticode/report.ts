import type { Certificate } from '../../lib/x509/certificate.ts';
import type { CertificateIdentity } from '../../lib/x509/certificate-identity.ts';
import type { SignaturePlace } from '../formats/signature-scheme.ts';

/**
 * The result of `verifySignableFile`. Everything in it survives `JSON.stringify`. Text from a file (subjects,
 * program names) is as the file has it: `describeReport` cleans it for a terminal, and so must all other output.
 *
 * | status     | meaning                                                                                   |
 * | ---------- | ----------------------------------------------------------------------------------------- |
 * | `ok`       | every check passed, and every signature's chain ends in a given root                       |
 * | `intact`   | every check passed that needs no roots: the bytes are as someone signed them, but neither |
 * |            | the signer nor chains were checked                                                        |
 * | `unsigned` | the file carries no signature                                                             |
 * | `bad`      | a check failed; `problems` names it                                                       |
 *
 * With roots the status is never `intact`.
 */
export type VerifyStatus = 'ok' | 'intact' | 'unsigned' | 'bad';

export interface VerifyReport {
  /** The source's name. */
  readonly path: string;
  readonly status: VerifyStatus;
  /**
   * The primary signature first, then those nested in it, in the file's order; if the file has several side by side,
   * then the next one with those nested in it.
   */
  readonly signatures: readonly SignatureReport[];
  /** Every check that failed, and problems of the file as a whole. Empty unless `status` is `bad`. */
  readonly problems: readonly VerifyProblem[];
}

export interface VerifyProblem {
  /** Stable and machine-readable: `file-digest-differs`, `certificate-chain-expired`, ... */
  readonly code: string;
  readonly message: string;
  /** The index of the signature concerned; absent for the file as a whole. */
  readonly signature?: number;
}

/** An observation that does not make a signature bad. */
export interface Note {
  readonly code: string;
  readonly message: string;
}

/**
 * The verification steps in the order in which they are taken, and the codes that each fails with. A step is one
 * line of a report, or one for each fault that it found:
 *
 * | step                | checks                                                      | codes                                        |
 * | ------------------- | ---------------------------------------------------------- | -------------------------------------------- |
 * | `structure`         | strict DER, one signer, one digest algorithm throughout    | `der-malformed`, `cms-…`, `authenticode-…`   |
 * | `digest-strength`   | no MD5; SHA-1 only beside a better one (`verify.ts`)       | `digest-weak`                                |
 * | `file-digest`       | the file is what was signed                                | `file-digest-differs`                        |
 * | `signed-attributes` | contentType and messageDigest are the content's            | `cms-content-type`, `cms-message-digest`     |
 * | `signature`         | the signature value, with the signer certificate's key     | `cms-signature-…`, `signer-certificate-missing` |
 * | `purpose`           | a certificate for code signing, and for this format        | `certificate-not-for-code-signing`           |
 * | `timestamp`         | over this signature, and verifies                          | `timestamp-…`                                |
 * | `unsigned-parts`    | only timestamps, nested signatures, chains                | those of `signatureFindings`                 |
 * | `timestamp-chain`   | the authority's chain at the time that it stamped          | `certificate-chain-…`                        |
 * | `validity`          | the signer's certificate, at the timestamp's time or now   | `certificate-expired`, `certificate-not-yet-valid` |
 * | `chain`             | the signer's chain at that time; null after any failure    | `certificate-chain-…`                        |
 *
 * The file as a whole has problems of its own, which its format reports. Revocation is not checked.
 */
export type CheckName =
  | 'structure'
  | 'digest-strength'
  | 'file-digest'
  | 'signed-attributes'
  | 'signature'
  | 'purpose'
  | 'timestamp'
  | 'unsigned-parts'
  | 'timestamp-chain'
  | 'validity'
  | 'chain';

export interface Check {
  readonly name: CheckName;
  /** Null if it could not be checked: no roots, no timestamp, or an earlier step failed. */
  readonly ok: boolean | null;
  /** The error's code if `ok` is false. */
  readonly code?: string;
  /** One sentence with the result. */
  readonly detail: string;
}

interface CertificateReport {
  readonly subject: string;
  readonly issuer: string;
  /** Lower-case hex. */
  readonly serial: string;
  /** SHA-256 of the certificate's DER, lower-case hex. */
  readonly sha256: string;
  /** ISO 8601, UTC. */
  readonly notBefore: string;
  readonly notAfter: string;
}

export interface TimestampReport {
  /** An RFC 3161 token, or the PKCS #9 countersignature that Authenticode had before it. */
  readonly kind: 'rfc3161' | 'legacy';
  /** ISO 8601, UTC. */
  readonly time: string;
  /** The authority's subject. */
  readonly authority: string;
  readonly certificate: CertificateReport;
  /** Whether its chain ends in a given time-stamping root; null if none was given. */
  readonly trusted: boolean | null;
}

export interface SignatureReport extends SignaturePlace {
  /** `sha256`, ...; null if the signature cannot be read. */
  readonly digestAlgorithm: string | null;
  /** The file digest that it states, lower-case hex. */
  readonly digest: string | null;
  /** Null if the signature does not include the certificate. */
  readonly signer: CertificateReport | null;
  /** What stays the same when the signer renews the certificate; null if the signature does not include it. */
  readonly identity: CertificateIdentity | null;
  readonly programName?: string;
  readonly url?: string;
  /** The time that the signer claims, ISO 8601; unverified. */
  readonly signingTime?: string;
  /** Null if there is none, or none that verifies. */
  readonly timestamp: TimestampReport | null;
  readonly checks: readonly Check[];
  /** Unusual but harmless properties, of the certificate too (`certificateFindings`). */
  readonly notes: readonly Note[];
  /** True: its chain ends in a given root. False: a check failed. Null: no roots were given. */
  readonly trusted: boolean | null;
}

/** A certificate as a report shows it. */
export const certificateReport = (certificate: Certificate): CertificateReport => ({
  subject: certificate.subject,
  issuer: certificate.issuer,
  serial: certificate.serial,
  sha256: certificate.sha256,
  notBefore: certificate.notBefore.toISOString(),
  notAfter: certificate.notAfter.toISOString(),
});

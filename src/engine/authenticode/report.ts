import type { Certificate } from '../../lib/x509/certificate.ts';

/**
 * What `verifyProgram` found. Everything in it survives `JSON.stringify`. Text that comes out of a
 * file (subjects, program names) is as the file has it: `describeReport` cleans it for a terminal,
 * and whoever prints it otherwise has to.
 *
 * | status     | meaning                                                                                   |
 * | ---------- | ----------------------------------------------------------------------------------------- |
 * | `ok`       | every check holds, and every signature leads to a root that was given                     |
 * | `intact`   | every check holds that can be made without roots: the bytes are as someone signed them,   |
 * |            | but who that is was not checked, and neither were chains                                  |
 * | `unsigned` | a program that carries no signature                                                       |
 * | `bad`      | a check failed; `problems` says which                                                     |
 *
 * With roots the answer is never `intact`.
 */
export type VerifyStatus = 'ok' | 'intact' | 'unsigned' | 'bad';

export interface VerifyReport {
  /** The source's name. */
  readonly path: string;
  readonly status: VerifyStatus;
  /**
   * The primary signature first, then those nested in it, in the file's order; of a UEFI program, which may have
   * several side by side, then the next one with those nested in it.
   */
  readonly signatures: readonly SignatureReport[];
  /** Every check that failed, and what concerns the file as a whole. Empty unless `status` is `bad`. */
  readonly problems: readonly Problem[];
}

export interface Problem {
  /** Stable and machine-readable: `file-digest-differs`, `certificate-chain-expired`, ... */
  readonly code: string;
  readonly message: string;
  /** Which signature it concerns; absent for the file as a whole. */
  readonly signature?: number;
}

/** Something that is worth knowing and does not make a signature bad. */
export interface Note {
  readonly code: string;
  readonly message: string;
}

/**
 * The steps of the checklist, in the order in which they are taken, and the codes that each fails with;
 * each is one line of a report, or as many as it found faults:
 *
 * | step                | asks                                                       | codes                                        |
 * | ------------------- | ---------------------------------------------------------- | -------------------------------------------- |
 * | `structure`         | strict DER, one signer, one digest algorithm throughout    | `der-malformed`, `cms-…`, `authenticode-…`   |
 * | `digest-strength`   | no MD5; SHA-1 only beside a better one (`verifyProgram`)   | `digest-weak`                      |
 * | `file-digest`       | the file is what was signed                                | `file-digest-differs`                        |
 * | `signed-attributes` | contentType and messageDigest are the content's            | `cms-content-type`, `cms-message-digest`     |
 * | `signature`         | the signature value, with the signer certificate's key     | `cms-signature-…`, `signer-certificate-missing` |
 * | `purpose`           | a certificate for code signing                             | `certificate-not-for-code-signing`           |
 * | `timestamp`         | over this signature, and sound                             | `timestamp-…`                                |
 * | `unsigned-parts`    | nothing but timestamps, nested signatures, chains          | those of `tidiness`, a line for each finding  |
 * | `timestamp-chain`   | the authority's chain at the time that it stamped          | `certificate-chain-…`                        |
 * | `validity`          | the signer's certificate, at the timestamp's time or now   | `certificate-expired`, `certificate-not-yet-valid` |
 * | `chain`             | the signer's chain, likewise; null after any failure       | `certificate-chain-…`                        |
 *
 * The file as a whole has problems of its own: `table-several-entries`, `table-trailing-bytes`,
 * `checksum-differs` and `pe-…`. Revocation is not looked at.
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
  /** Null when it could not be asked: no roots, no timestamp, or an earlier step failed. */
  readonly ok: boolean | null;
  /** The error's code when `ok` is false. */
  readonly code?: string;
  /** One sentence: what was found. */
  readonly detail: string;
}

export interface CertificateReport {
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
  /** Whether its chain leads to a time-stamping root that was given; null when none was. */
  readonly trusted: boolean | null;
}

export interface SignatureReport {
  /** 0 is the primary signature. */
  readonly index: number;
  /** Whether it is nested in another one (Microsoft's attribute 1.3.6.1.4.1.311.2.4.1). */
  readonly nested: boolean;
  /** `sha256`, ...; null when the signature cannot be read. */
  readonly digestAlgorithm: string | null;
  /** The file digest that it claims, lower-case hex. */
  readonly digest: string | null;
  /** Null when the certificate did not come along. */
  readonly signer: CertificateReport | null;
  readonly programName?: string;
  readonly url?: string;
  /** The time that the signer claims, ISO 8601; nobody vouches for it. */
  readonly signingTime?: string;
  /** Null when there is none, or none that holds. */
  readonly timestamp: TimestampReport | null;
  readonly checks: readonly Check[];
  /** What is unusual about it and does no harm. */
  readonly notes: readonly Note[];
  /** True: it leads to a root that was given. False: a check failed. Null: no roots were given. */
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

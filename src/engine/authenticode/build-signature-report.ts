import type { Certificate } from '../../lib/x509/certificate.ts';
import { certificateFindings } from '../../lib/x509/certificate-findings.ts';
import { certificateIdentity } from '../../lib/x509/certificate-identity.ts';
import type { SignaturePlace } from '../formats/signature-scheme.ts';
import type { Countersignature } from './countersignature.ts';
import { certificateReport, type Note, type SignatureReport, type TimestampReport } from './report.ts';
import type { ProfiledSignature } from './signature-profile.ts';
import type { VerificationSteps } from './verification-steps.ts';

/** A verified timestamp, and whether its chain ends in a root that was given; null if none was. */
export interface JudgedTimestamp extends Countersignature {
  readonly trusted: boolean | null;
}

/** Reports a signature whose structure cannot be read. */
export const reportUnreadable = (
  { index, nested }: SignaturePlace,
  { checks }: VerificationSteps,
): SignatureReport => ({
  index,
  nested,
  digestAlgorithm: null,
  digest: null,
  signer: null,
  identity: null,
  timestamp: null,
  checks,
  notes: [],
  trusted: false,
});

/** Reports a signature that was read and verified. */
export function reportOn(
  { index, nested }: SignaturePlace,
  { hash, digest, signature }: ProfiledSignature,
  timestamp: JudgedTimestamp | undefined,
  { checks, failed }: VerificationSteps,
): SignatureReport {
  const { certificate, description, signingTime } = signature;
  const trusted = checks.some(({ name, ok }) => name === 'chain' && ok === true);
  return {
    index,
    nested,
    digestAlgorithm: hash,
    digest: digest.toString('hex'),
    signer: certificate ? certificateReport(certificate) : null,
    identity: certificate ? certificateIdentity(certificate) : null,
    ...(description.name !== null && { programName: description.name }),
    ...(description.url !== null && { url: description.url }),
    ...(signingTime && { signingTime: signingTime.toISOString() }),
    timestamp: timestamp ? timestampReport(timestamp) : null,
    checks,
    notes: [...signature.notes, ...(certificate ? notesOnCertificate(certificate) : [])],
    trusted: failed ? false : trusted || null,
  };
}

/** For its owner: none of these makes a signature bad. */
const notesOnCertificate = (certificate: Certificate): Note[] =>
  certificateFindings(certificate).map(({ code, message }) => ({ code, message: `certificate: ${message}` }));

const timestampReport = ({
  kind,
  time,
  authority,
  certificate,
  trusted,
}: JudgedTimestamp): TimestampReport => ({
  kind,
  time: time.toISOString(),
  authority,
  certificate: certificateReport(certificate),
  trusted,
});

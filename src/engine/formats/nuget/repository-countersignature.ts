import { DerReader, readOid, readText, type Der } from '../../../lib/asn1/der.ts';
import { OID } from '../../../lib/asn1/oids.ts';
import {
  findSignerCertificate,
  parseSignerInfo,
  singleAttribute,
  type SignerInfo,
} from '../../../lib/cms/signed-data.ts';
import { checkMessageDigest, checkSignature } from '../../../lib/cms/verify-signer.ts';
import { invalid, messageOf } from '../../../lib/errors.ts';
import type { Certificate } from '../../../lib/x509/certificate.ts';
import type { CmsSignature } from '../../authenticode/cms-profile.ts';
import { readCountersignature } from '../../authenticode/countersignature.ts';
import { ofToken } from '../../authenticode/unauthenticated-data.ts';
import { checkEssCertId } from '../../timestamp/token/ess-cert-id.ts';
import type { Finding } from '../signature-scheme.ts';

/** What a repository added to an author's signature: a signature over that signature's value (RFC 5652 section 11.4). */
export interface RepositoryCountersignature {
  readonly signer: SignerInfo;
  /** Its certificate, if the package includes it. */
  readonly certificate: Certificate | undefined;
  /** The repository's service index, as it states. */
  readonly repository: string;
  /** The certificates that begin a chain of its own in the signature. */
  readonly signers: readonly Certificate[];
}

/** The address of a repository's service index, as its signature states it. */
export function repositoryOf(signer: SignerInfo, what: string): string {
  const value = singleAttribute(signer.signedAttributes, OID.nugetServiceIndex, what);
  return value ? readText(value, what) : 'without an address';
}

/** The countersignatures of a signature; throws `cms-…` or `der-malformed`. Nothing is verified. */
export function countersignaturesOf(signature: CmsSignature, label: string): RepositoryCountersignature[] {
  return signature.signer.unsignedAttributes
    .filter(({ oid }) => oid === OID.counterSignature)
    .flatMap(({ values }) => values)
    .map(({ raw }) => {
      const what = `the countersignature of ${label}`;
      const signer = parseSignerInfo(raw, what);
      const certificate = findSignerCertificate(signature.data, signer);
      return {
        signer,
        certificate,
        repository: repositoryOf(signer, what),
        signers: certificate ? [certificate] : [],
      };
    });
}

/**
 * Checks that countersignatures are what a repository adds, and hold nothing else: at most one, over the signature value,
 * with perhaps a timestamp. Whose they are is not judged: an author's signature does not depend on them.
 */
export function findingsOfCountersignatures(signature: CmsSignature, label: string): Finding[] {
  const all = countersignaturesOf(signature, label);
  if (all.length > 1)
    return [finding(`${label} has ${all.length} countersignatures, a package has one at most`)];
  return all.flatMap((each) => findingsOf(each, signature, `the countersignature of ${label}`));
}

/** What a repository signs (NuGet, "Package Signatures Technical Specification"; RFC 5652 section 11.4). */
const SIGNED: ReadonlySet<string> = new Set([
  OID.contentType,
  OID.messageDigest,
  OID.signingTime,
  OID.commitmentType,
  OID.signingCertificate,
  OID.signingCertificateV2,
  OID.nugetServiceIndex,
  OID.nugetPackageOwners,
]);

const finding = (message: string): Finding => ({ code: 'nuget-countersignature', message });

function findingsOf(each: RepositoryCountersignature, signature: CmsSignature, what: string): Finding[] {
  try {
    requireValid(each, signature, what);
  } catch (error) {
    return [finding(messageOf(error))];
  }
  const { signer } = each;
  // Any key may have made it, so that what it signs is not covered by the author's.
  const unusual = signer.signedAttributes.find(({ oid }) => !SIGNED.has(oid));
  if (unusual) return [finding(`${what} signs attribute ${unusual.oid}, which no repository adds`)];
  const others = signer.unsignedAttributes.filter(({ oid }) => oid !== OID.timestampToken);
  return [
    ...others.map(({ oid, raw }) => ({
      code: 'signature-attribute-unknown',
      message: `${what} has ${raw.length} bytes in unsigned attribute ${oid}, which no signature covers`,
    })),
    ...timestampsOf(signer).flatMap((der) => ofToken(der, null, `the timestamp of ${what}`)),
  ];
}

const timestampsOf = ({ unsignedAttributes }: SignerInfo): Der[] =>
  unsignedAttributes.filter(({ oid }) => oid === OID.timestampToken).flatMap(({ values }) => values);

function requireValid(
  { signer, certificate }: RepositoryCountersignature,
  signature: CmsSignature,
  what: string,
): void {
  const value = signature.signer.signature;
  if (!certificate) throw invalid('signer-certificate-missing', `${what}: its certificate is missing`);
  const commitment = singleAttribute(signer.signedAttributes, OID.commitmentType, what);
  if (!commitment || readOid(new DerReader(commitment, what).next(), what) !== OID.proofOfReceipt)
    throw invalid('nuget-signature-type', `${what}: it is not a repository's`);
  checkMessageDigest(signer, value, what);
  checkSignature(signer, certificate.publicKey, value, what);
  checkEssCertId(signer, certificate, what);
  const stamped = {
    value: signer.signature,
    timestamps: timestampsOf(signer),
    legacyTimestamps: [],
    certificates: signature.data.certificates,
  };
  readCountersignature(stamped, { now: new Date(), weakDigests: false, what });
}

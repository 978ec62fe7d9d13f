import { createHash } from 'node:crypto';
import { DerReader, readOid } from '../../../lib/asn1/der.ts';
import { explicit, octets, oid, seq } from '../../../lib/asn1/encode-der.ts';
import { OID } from '../../../lib/asn1/oids.ts';
import { attribute, baseAttributes } from '../../../lib/cms/build-signed-data.ts';
import { singleAttribute, type SignerInfo } from '../../../lib/cms/signed-data.ts';
import { invalid, isInvalid } from '../../../lib/errors.ts';
import type { Certificate } from '../../../lib/x509/certificate.ts';
import { digestedBytes, type CmsProfile, type CmsSignature } from '../../authenticode/cms-profile.ts';
import { cmsScheme } from '../../authenticode/cms-scheme.ts';
import { checkEssCertId } from '../../timestamp/token/ess-cert-id.ts';
import type { Finding, SignatureScheme, SigningSubject } from '../signature-scheme.ts';
import {
  countersignaturesOf,
  findingsOfCountersignatures,
  repositoryOf,
} from './repository-countersignature.ts';

/*
 * NuGet, "Package Signatures Technical Specification": CMS (RFC 5652) as CAdES has it (RFC 5126). An author signs with the
 * commitment "proof of origin"; a repository that serves the package, such as nuget.org, with "proof of receipt".
 */

/** ESSCertIDv2 with the digest algorithm written out, though it is the default, and issuerSerial (RFC 5035 section 4). */
function signingCertificate(certificate: Certificate): Buffer {
  const digest = createHash('sha256').update(certificate.raw).digest();
  const issuer = seq(explicit(4, certificate.issuerDer));
  return seq(seq(seq(seq(oid(OID.sha256)), octets(digest), seq(issuer, certificate.serialDer))));
}

function signedAttributes({ content, hash, signingTime, certificates }: SigningSubject): Buffer[] {
  const messageDigest = createHash(hash).update(digestedBytes(content)).digest();
  return [
    ...baseAttributes(content.type, messageDigest, signingTime ?? new Date()),
    attribute(OID.commitmentType, seq(oid(OID.proofOfOrigin))),
    attribute(OID.signingCertificateV2, signingCertificate(certificates[0])),
  ];
}

/** Who signed: the author of the package, or a repository. */
function commitmentOf(signer: SignerInfo, what: string): 'author' | 'repository' {
  const value = singleAttribute(signer.signedAttributes, OID.commitmentType, what);
  const type = value && readOid(new DerReader(value, what).next(), what);
  if (type === OID.proofOfOrigin) return 'author';
  if (type === OID.proofOfReceipt) return 'repository';
  throw invalid('nuget-signature-type', `${what}: neither the signature of an author nor of a repository`);
}

function requireSignerForm({ signer, certificate }: CmsSignature, what: string): void {
  if (signer.version !== (signer.subjectKeyIdentifier ? 3 : 1))
    throw invalid(
      'authenticode-version',
      `${what}: SignerInfo has version ${signer.version}, which does not belong to how it names the signer`,
    );
  commitmentOf(signer, what);
  if (!singleAttribute(signer.signedAttributes, OID.signingTime, what))
    throw invalid('nuget-signing-time', `${what}: it has no signing time`);
  if (certificate) requireNamedCertificate(signer, certificate, what);
}

/** Without this attribute an attacker could put another certificate for the same key in the signer's place. */
function requireNamedCertificate(signer: SignerInfo, certificate: Certificate, what: string): void {
  try {
    checkEssCertId(signer, certificate, what);
  } catch (error) {
    if (!isInvalid(error)) throw error;
    throw invalid('nuget-signing-certificate', error.message, { cause: error });
  }
}

/** What repositories add, which says nothing about the author. */
function notes(signature: CmsSignature): Finding[] {
  try {
    return repositoriesOf(signature).map((message) => ({ code: 'nuget-repository', message }));
  } catch (error) {
    // An attribute that cannot be read is a finding, or was refused with the signature's form.
    if (isInvalid(error)) return [];
    throw error;
  }
}

function repositoriesOf(signature: CmsSignature): string[] {
  const { signer } = signature;
  const countersigned = countersignaturesOf(signature, 'signature').map(
    ({ repository, certificate }) =>
      `countersigned by the repository ${repository}${certificate ? ` (${certificate.subject})` : ''}`,
  );
  if (commitmentOf(signer, 'signature') === 'author') return countersigned;
  return [
    `signed by the repository ${repositoryOf(signer, 'signature')}, not by the author`,
    ...countersigned,
  ];
}

const NUGET: CmsProfile = {
  name: 'nuget-author',
  version: 3,
  style: { signerNamedBy: 'key', parameters: 'none' },
  attributes: {
    timestamp: OID.timestampToken,
    legacyTimestamp: null,
    nested: null,
    others: [OID.counterSignature],
  },
  includesRoot: true,
  namesCertificate: true,
  signedAttributes,
  requireSignerForm,
  notes,
  otherFindings: findingsOfCountersignatures,
  otherCertificates: (signature, label) =>
    countersignaturesOf(signature, label).flatMap(({ signers }) => signers),
};

/** Signatures of NuGet packages. Those of repositories are read too; only authors' are made. */
export const nugetScheme: SignatureScheme = cmsScheme(NUGET);

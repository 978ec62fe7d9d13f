import { createHash } from 'node:crypto';
import { children, context, DerReader, readOctets, readOid, TAG, type Der } from '../../../lib/asn1/der.ts';
import { digestName, OID } from '../../../lib/asn1/oids.ts';
import { singleAttribute, type SignerInfo } from '../../../lib/cms/signed-data.ts';
import { invalid, type SignpipeError } from '../../../lib/errors.ts';
import type { Certificate } from '../../../lib/x509/certificate.ts';

/** `[4] EXPLICIT Name` in a GeneralName (RFC 5280, 4.2.1.6). */
const DIRECTORY_NAME = 4;

const badEssCertId = (what: string, why: string): SignpipeError =>
  invalid('timestamp-certificate', `${what}: ${why}`);

/** An ESSCertID or ESSCertIDv2: it identifies a certificate by its digest and, optionally, by issuer and serial number. */
interface EssCertId {
  readonly hash: string;
  readonly digest: Buffer;
  readonly issuerSerial: Der | undefined;
}

/** `ESSCertID ::= SEQUENCE { certHash, issuerSerial OPTIONAL }`, SHA-1 (RFC 2634, 5.4.1). */
function readEssCertId(der: Der, what: string): EssCertId {
  const reader = new DerReader(der, what);
  const digest = readOctets(reader.next(), what);
  const issuerSerial = reader.optional(TAG.sequence);
  reader.end();
  return { hash: 'sha1', digest, issuerSerial };
}

/** `ESSCertIDv2 ::= SEQUENCE { hashAlgorithm DEFAULT sha256, certHash, issuerSerial OPTIONAL }` (RFC 5035, 4). */
function readEssCertIdV2(der: Der, what: string): EssCertId {
  const reader = new DerReader(der, what);
  const algorithm = reader.optional(TAG.sequence);
  const oid = algorithm ? readOid(new DerReader(algorithm, what).next(), what) : OID.sha256;
  const digest = readOctets(reader.next(), what);
  const issuerSerial = reader.optional(TAG.sequence);
  reader.end();
  const hash = digestName(oid);
  if (!hash || hash === 'md5')
    throw badEssCertId(what, `identifies its certificate by an unknown digest algorithm (${oid})`);
  return { hash, digest, issuerSerial };
}

type ReadId = (der: Der, what: string) => EssCertId;

/** `SigningCertificate ::= SEQUENCE { certs SEQUENCE OF ESSCertID, policies OPTIONAL }`, either version (RFC 5035, 3). */
function listIds(attribute: Der, what: string): Der[] {
  const reader = new DerReader(attribute, what);
  const ids = children(reader.next(TAG.sequence), what);
  reader.optional(TAG.sequence);
  reader.end();
  return ids;
}

/** The ESSCertIDs of each attribute that is there, and how to read them. */
function essCertIds(signer: SignerInfo, what: string): { ids: Der[]; read: ReadId }[] {
  const versions: [string, ReadId][] = [
    [OID.signingCertificate, readEssCertId],
    [OID.signingCertificateV2, readEssCertIdV2],
  ];
  return versions.flatMap(([type, read]) => {
    const attribute = singleAttribute(signer.signedAttributes, type, what);
    return attribute ? [{ ids: listIds(attribute, what), read }] : [];
  });
}

/** Whether a digest is that of a certificate (DER). */
export const isDigestOf = (
  { hash, digest }: Pick<EssCertId, 'hash' | 'digest'>,
  certificate: Buffer,
): boolean => createHash(hash).update(certificate).digest().equals(digest);

/** `IssuerSerial ::= SEQUENCE { issuer GeneralNames, serialNumber }` (RFC 5035, 5). */
function checkIssuerSerial(der: Der, certificate: Certificate, what: string): void {
  const reader = new DerReader(der, what);
  const names = children(reader.next(TAG.sequence), what);
  const serial = reader.next(TAG.integer).raw;
  reader.end();
  const issuerMatches = names.some(
    (name) => name.tag === context(DIRECTORY_NAME) && name.body.equals(certificate.issuerDer),
  );
  if (issuerMatches && serial.equals(certificate.serialDer)) return;
  throw badEssCertId(
    what,
    'names the issuer and serial number of another certificate than the one that signed',
  );
}

/**
 * Checks that the signed attributes identify the certificate that signed (RFC 3161, 2.4.1; RFC 5816). Without this,
 * an attacker could put another certificate for the same key in its place. One version of the attribute is enough;
 * if there are both, both are checked. Throws `timestamp-certificate`.
 */
export function checkEssCertId(signer: SignerInfo, certificate: Certificate, what: string): void {
  // The first identifies the signer's certificate (RFC 2634, 5.4), the others its chain or attribute certificates.
  const ids = essCertIds(signer, what).map(({ ids: [first], read }) => {
    if (!first) throw badEssCertId(what, 'identifies no certificate');
    return read(first, what);
  });
  if (ids.length === 0)
    throw badEssCertId(what, 'does not identify the certificate that signed it (no ESSCertID)');
  for (const id of ids) {
    if (!isDigestOf(id, certificate.raw))
      throw badEssCertId(what, 'identifies another certificate than the one it includes');
    if (id.issuerSerial) checkIssuerSerial(id.issuerSerial, certificate, what);
  }
}

/**
 * Whether one of the ESSCertIDs in the signed attributes has the digest of this certificate (DER, with the tag
 * SEQUENCE; attribute certificates too), so that it cannot have been changed.
 */
export const isInEssCertIds = (signer: SignerInfo, certificate: Buffer, what: string): boolean =>
  essCertIds(signer, what).some(({ ids, read }) => ids.some((id) => isDigestOf(read(id, what), certificate)));

/** Whether the signed attributes identify more certificates than the signer's. */
export const hasSeveralEssCertIds = (signer: SignerInfo, what: string): boolean =>
  essCertIds(signer, what).some(({ ids }) => ids.length > 1);

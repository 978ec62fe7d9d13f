import { createHash } from 'node:crypto';
import { children, context, DerReader, readOctets, readOid, TAG, type Der } from '../../lib/asn1/der.ts';
import { digestName, OID } from '../../lib/asn1/oids.ts';
import { singleAttribute, type SignerInfo } from '../../lib/cms/signed-data.ts';
import { invalid, type SignpipeError } from '../../lib/errors.ts';
import type { Certificate } from '../../lib/x509/certificate.ts';

/** `[4] EXPLICIT Name` in a GeneralName (RFC 5280, 4.2.1.6). */
const DIRECTORY_NAME = 4;

const unbound = (what: string, why: string): SignpipeError =>
  invalid('timestamp-certificate', `${what}: ${why}`);

/** ESSCertID or ESSCertIDv2: which certificate signed, by its digest and maybe by name. */
interface CertificateId {
  readonly hash: string;
  readonly digest: Buffer;
  readonly issuerSerial: Der | undefined;
}

/** `ESSCertID ::= SEQUENCE { certHash, issuerSerial OPTIONAL }`, SHA-1 (RFC 2634, 5.4.1). */
function readFirstVersion(der: Der, what: string): CertificateId {
  const reader = new DerReader(der, what);
  const digest = readOctets(reader.next(), what);
  const issuerSerial = reader.optional(TAG.sequence);
  reader.end();
  return { hash: 'sha1', digest, issuerSerial };
}

/** `ESSCertIDv2 ::= SEQUENCE { hashAlgorithm DEFAULT sha256, certHash, issuerSerial OPTIONAL }` (RFC 5035, 4). */
function readSecondVersion(der: Der, what: string): CertificateId {
  const reader = new DerReader(der, what);
  const algorithm = reader.optional(TAG.sequence);
  const oid = algorithm ? readOid(new DerReader(algorithm, what).next(), what) : OID.sha256;
  const digest = readOctets(reader.next(), what);
  const issuerSerial = reader.optional(TAG.sequence);
  reader.end();
  const hash = digestName(oid);
  if (!hash || hash === 'md5')
    throw unbound(what, `identifies its certificate by an unknown digest (${oid})`);
  return { hash, digest, issuerSerial };
}

type ReadId = (der: Der, what: string) => CertificateId;

/** `SigningCertificate ::= SEQUENCE { certs SEQUENCE OF ESSCertID, policies OPTIONAL }`, either version (RFC 5035, 3). */
function listIds(attribute: Der, what: string): Der[] {
  const reader = new DerReader(attribute, what);
  const ids = children(reader.next(TAG.sequence), what);
  reader.optional(TAG.sequence);
  reader.end();
  return ids;
}

/** The attributes that there are, and how their ids are read. */
function bindings(signer: SignerInfo, what: string): { ids: Der[]; read: ReadId }[] {
  const versions: [string, ReadId][] = [
    [OID.signingCertificate, readFirstVersion],
    [OID.signingCertificateV2, readSecondVersion],
  ];
  return versions.flatMap(([type, read]) => {
    const attribute = singleAttribute(signer.signedAttributes, type, what);
    return attribute ? [{ ids: listIds(attribute, what), read }] : [];
  });
}

/** Whether a digest, made by `hash`, is that of a certificate (DER). */
export const isDigestOf = (
  { hash, digest }: Pick<CertificateId, 'hash' | 'digest'>,
  certificate: Buffer,
): boolean => createHash(hash).update(certificate).digest().equals(digest);

/** `IssuerSerial ::= SEQUENCE { issuer GeneralNames, serialNumber }` (RFC 5035, 5). */
function checkIssuerSerial(der: Der, certificate: Certificate, what: string): void {
  const reader = new DerReader(der, what);
  const names = children(reader.next(TAG.sequence), what);
  const serial = reader.next(TAG.integer).raw;
  reader.end();
  const named = names.some(
    (name) => name.tag === context(DIRECTORY_NAME) && name.body.equals(certificate.issuerDer),
  );
  if (named && serial.equals(certificate.serialDer)) return;
  throw unbound(what, "names another certificate's issuer and serial number than the one that signed");
}

/**
 * Checks that the signed attributes say which certificate signed (RFC 3161, 2.4.1; RFC 5816): without
 * that, another certificate for the same key could be put in its place. Either version of the
 * attribute will do; both are checked when both are there. Throws `timestamp-certificate`.
 */
export function checkEssCertId(signer: SignerInfo, certificate: Certificate, what: string): void {
  // The first is the signer's (RFC 2634, 5.4); the others are of its chain, or lend it authority.
  const ids = bindings(signer, what).map(({ ids: [first], read }) => {
    if (!first) throw unbound(what, 'identifies no certificate');
    return read(first, what);
  });
  if (ids.length === 0) throw unbound(what, 'does not say which certificate signed it (no ESSCertID)');
  for (const id of ids) {
    if (!isDigestOf(id, certificate.raw))
      throw unbound(what, 'names another certificate than the one that came with it');
    if (id.issuerSerial) checkIssuerSerial(id.issuerSerial, certificate, what);
  }
}

/**
 * Whether a certificate of any kind (DER, under SEQUENCE's own tag) is among those whose digests the
 * signed attributes hold, so that nobody can have changed it. Authorities bind attribute certificates
 * like that, to tell how their clock is kept: Microsoft's do.
 */
export const isInEssCertIds = (signer: SignerInfo, certificate: Buffer, what: string): boolean =>
  bindings(signer, what).some(({ ids, read }) => ids.some((id) => isDigestOf(read(id, what), certificate)));

/** Whether the signed attributes hold the digests of more certificates than the signer's. */
export const hasSeveralEssCertIds = (signer: SignerInfo, what: string): boolean =>
  bindings(signer, what).some(({ ids }) => ids.length > 1);

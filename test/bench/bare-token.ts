/**
 * Only for speed: timestamp tokens (RFC 3161, RFC 5652) whose constant parts are encoded once. 0.1 ms each, most of
 * it one P-256 signature; the sandbox's authority takes 0.5 ms.
 */
import { createHash, randomBytes, sign } from 'node:crypto';
import { DerReader, TAG } from '../../src/lib/asn1/der.ts';
import {
  explicit,
  generalizedTime,
  implicit,
  integer,
  octets,
  oid,
  seq,
  set,
} from '../../src/lib/asn1/encode-der.ts';
import { OID } from '../../src/lib/asn1/oids.ts';
import { algorithm, attribute, signatureAlgorithm } from '../../src/lib/cms/build-signed-data.ts';
import type { TestIdentity } from '../../src/sandbox/certificates.ts';
import { TEST_POLICY } from '../../src/sandbox/timestamp-token.ts';

const sha256 = (bytes: Buffer): Buffer => createHash('sha256').update(bytes).digest();

/** The parts of a TimeStampReq that its answer repeats: imprint and nonce in DER; whether certificates are wanted. */
function readQuery(query: Buffer): { imprint: Buffer; nonce: Buffer[]; certificates: boolean } {
  const reader = DerReader.of(query, 'request');
  reader.next(TAG.integer);
  const imprint = reader.next(TAG.sequence).raw;
  reader.optional(TAG.oid);
  const nonce = reader.optional(TAG.integer);
  return {
    imprint,
    nonce: nonce ? [nonce.raw] : [],
    certificates: reader.optional(TAG.boolean) !== undefined,
  };
}

/** Makes a function from TimeStampReq to a granting TimeStampResp; the key must be P-256. */
export function bareStamper({ certificate, chain, key }: TestIdentity): (query: Buffer) => Buffer {
  const [version, policy, accuracy] = [integer(1), oid(TEST_POLICY), seq(integer(1))];
  const [granted, signedData, tstInfo] = [seq(integer(0)), oid(OID.signedData), oid(OID.tstInfo)];
  const [cmsVersion, digest] = [integer(3), algorithm(OID.sha256)];
  const contentType = attribute(OID.contentType, tstInfo);
  const bound = attribute(OID.signingCertificateV2, seq(seq(seq(octets(sha256(certificate.raw))))));
  const signerId = seq(certificate.issuerDer, certificate.serialDer);
  const scheme = signatureAlgorithm('ecdsa', 'sha256');
  const sent = implicit(
    0,
    set(...chain.filter((each, at) => at === 0 || !each.isSelfIssued).map(({ raw }) => raw)),
  );
  return (query) => {
    const { imprint, nonce, certificates } = readQuery(query);
    const serial = integer(BigInt(`0x40${randomBytes(15).toString('hex')}`));
    const info = seq(version, policy, imprint, serial, generalizedTime(new Date()), accuracy, ...nonce);
    // Already in DER's order for a SET OF: by length.
    const attributes = set(contentType, attribute(OID.messageDigest, octets(sha256(info))), bound);
    const signature = octets(sign('sha256', attributes, key));
    const signer = seq(version, signerId, digest, implicit(0, attributes), scheme, signature);
    const content = seq(tstInfo, explicit(0, octets(info)));
    const data = seq(cmsVersion, set(digest), content, ...(certificates ? [sent] : []), set(signer));
    return seq(granted, seq(signedData, explicit(0, data)));
  };
}

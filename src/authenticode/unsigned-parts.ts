import { children, context, NULL, parseDer, type Der } from '../asn1/der.ts';
import { digestName, OID } from '../asn1/oids.ts';
import { parseSignedData, signedDataFields, type SignedData, type SignerInfo } from '../cms/signed-data.ts';
import { invalid } from '../errors.ts';
import type { Certificate } from '../x509/certificate.ts';
import type { Countersignature } from './countersignature.ts';
import type { AuthenticodeSignature } from './signature.ts';

/*
 * A signature has parts that neither it nor anything else covers. Whoever has a signed file can put
 * bytes there and the signature still holds: that is how one signed installer becomes many, each with
 * a message for the program inside. So nothing may stand in them that has no use.
 */

/** Unsigned attributes that hold a timestamp. */
export const TIMESTAMP_ATTRIBUTES: readonly string[] = [OID.spcTimestampToken, OID.counterSignature];

/**
 * Requires that the unsigned parts of a signature and of its timestamp hold timestamps, nested
 * signatures (in the primary one only) and the certificates of their chains, and nothing else.
 *
 * Throws `attribute-unknown`, `certificate-stray`, `authenticode-crls` or `authenticode-parameters`.
 */
export function requireNothingBesides(
  { data, signer, certificate }: AuthenticodeSignature,
  timestamp: Countersignature | undefined,
  primary: boolean,
  what: string,
): void {
  const nested = primary ? [OID.spcNestedSignature] : [];
  requireAttributes(signer, [...TIMESTAMP_ATTRIBUTES, ...nested], what);
  requireNothingHidden(data, what);
  const ends = [certificate, timestamp?.certificate].filter((each) => each !== undefined);
  // Without both it cannot be told what the certificates are for; that they are missing is said elsewhere.
  const stamped = signer.unsignedAttributes.some(({ oid }) => TIMESTAMP_ATTRIBUTES.includes(oid));
  if (certificate && stamped === (timestamp !== undefined)) requireNoStray(data.certificates, ends, what);
  if (timestamp) requireNothingBesidesTime(timestamp, `${what}: timestamp`);
}

function requireNothingBesidesTime({ signer, token, certificate }: Countersignature, what: string): void {
  requireAttributes(signer, [], what);
  requireBare(children(parseDer(signer.raw, what), what), what);
  if (!token) return;
  const data = parseSignedData(token, what);
  requireNothingHidden(data, what);
  requireNoStray(data.certificates, [certificate], what);
}

function requireAttributes(signer: SignerInfo, known: readonly string[], what: string): void {
  const unknown = signer.unsignedAttributes.find(({ oid }) => !known.includes(oid));
  if (!unknown) return;
  throw invalid(
    'attribute-unknown',
    `${what}: ${unknown.raw.length} bytes that nobody signed, as attribute ${unknown.oid}`,
  );
}

/** Neither lists of revoked certificates, nor digests that nobody uses, nor parameters where there are none. */
function requireNothingHidden(data: SignedData, what: string): void {
  const fields = signedDataFields(data.raw, what);
  if (fields.data.some(({ tag }) => tag === context(1)))
    throw invalid('authenticode-crls', `${what}: it carries revocation lists, which nobody signed`);
  const digests = fields.data[1] ? children(fields.data[1], what) : [];
  const known = data.digestAlgorithms.every((each) => digestName(each) !== undefined);
  if (!known || !digests.every((each) => isBare(each, what)))
    throw invalid('authenticode-parameters', `${what}: it names digests that are none, or with parameters`);
  requireBare(fields.signer, what);
}

/** Digest and signature algorithm of a SignerInfo, whose components these are. */
function requireBare([, , digest, , signature]: readonly Der[], what: string): void {
  if ([digest, signature].every((each) => each && isBare(each, what))) return;
  throw invalid('authenticode-parameters', `${what}: an algorithm in it has parameters`);
}

/** An AlgorithmIdentifier with its parameters NULL or absent. */
function isBare(algorithm: Der, what: string): boolean {
  const [, parameters, ...rest] = children(algorithm, what);
  return rest.length === 0 && (parameters === undefined || parameters.raw.equals(NULL));
}

/** No certificate but `ends` and those that stand above them, going by names; each once. */
function requireNoStray(
  certificates: readonly Certificate[],
  ends: readonly Certificate[],
  what: string,
): void {
  const wanted = new Set(ends.map(({ issuerDer }) => issuerDer.toString('latin1')));
  let left = certificates.filter((each) => !ends.some((end) => end.equals(each)));
  for (;;) {
    const above = left.filter(({ subjectDer }) => wanted.has(subjectDer.toString('latin1')));
    if (above.length === 0) break;
    for (const { issuerDer } of above) wanted.add(issuerDer.toString('latin1'));
    left = left.filter((each) => !above.includes(each));
  }
  if (left[0])
    throw invalid('certificate-stray', `${what}: a certificate that nothing here needs: ${left[0].subject}`);
}

import { context, parseDer, type Der } from '../../../lib/asn1/der.ts';
import { explicit, integer, oid, seq, set, tlv } from '../../../lib/asn1/encode-der.ts';
import { OID } from '../../../lib/asn1/oids.ts';
import {
  findSignerCertificate,
  readSignedData,
  type SignedData,
  type SignerInfo,
} from '../../../lib/cms/signed-data.ts';
import { invalid } from '../../../lib/errors.ts';
import type { Certificate } from '../../../lib/x509/certificate.ts';
import { isIssuedBy } from '../../../lib/x509/issuance.ts';
import { withTimestampCode } from '../timestamp-errors.ts';

/** The version of SignedData whose content is not id-data (RFC 5652, 5.1). */
const SIGNED_DATA_VERSION = 3;

/**
 * Removes from an authority's token (ContentInfo, DER) what its signature does not cover and no verifier needs: CRLs,
 * unsigned attributes, digest algorithms that its one signer does not use, attribute certificates, and certificates
 * that are not on a verified path from the authority's own to a root. Some authorities include such things, and
 * anyone on the network can add them; in a signed program an attacker could change these bytes. A token that has none
 * of them is returned byte for byte.
 *
 * Only the path is checked here. Throws `timestamp-malformed`.
 */
export const trimToken = (token: Buffer, roots: readonly Certificate[] | undefined, what: string): Der =>
  withTimestampCode('timestamp-malformed', () => trim(token, roots, what));

function trim(token: Buffer, roots: readonly Certificate[] | undefined, what: string): Der {
  const tokenDer = parseDer(token, what);
  const data = readSignedData(tokenDer, what);
  const [signer, another] = data.signers;
  if (!signer || another) throw invalid('timestamp-malformed', `${what}: must have exactly one signature`);
  const trimmedToken = seq(oid(OID.signedData), explicit(0, trimSignedData(data, signer, roots, what)));
  return trimmedToken.equals(token) ? tokenDer : parseDer(trimmedToken, what);
}

function trimSignedData(
  data: SignedData,
  signer: SignerInfo,
  roots: readonly Certificate[] | undefined,
  what: string,
): Buffer {
  const [, , content] = data.fields;
  const [, , digestAlgorithm] = signer.fields;
  if (!content || !digestAlgorithm) throw invalid('timestamp-malformed', `${what}: not a timestamp`);
  const certificates = neededCertificates(findSignerCertificate(data, signer), data.certificates, roots);
  return seq(
    integer(SIGNED_DATA_VERSION),
    set(digestAlgorithm.raw),
    content.raw,
    ...(certificates.length > 0 ? [tlv(context(0), ...certificates.map(({ raw }) => raw))] : []),
    set(seq(...signer.fields.filter(({ tag }) => tag !== context(1)).map(({ raw }) => raw))),
  );
}

/** No authority sends more than five. A limit is needed because each is compared with every other. */
const MAX_CERTIFICATES = 20;

/** The certificates of `sent` that are needed, in their order and without duplicates. */
function neededCertificates(
  leaf: Certificate | undefined,
  sent: readonly Certificate[],
  roots: readonly Certificate[] | undefined,
): Certificate[] {
  if (!leaf) return [];
  const all = new Map([leaf, ...sent].slice(0, MAX_CERTIFICATES).map((each) => [each.sha256, each]));
  const different = sent.filter((each) => all.delete(each.sha256));
  const needed = roots ? allPaths(leaf, different, roots) : firstPath(leaf, different);
  return different.filter((each) => needed.has(each));
}

/**
 * The certificates on a path from `leaf` to a root, each signed by the next one's key. All paths are kept: authorities
 * also send their root as certified by an older root, for machines that trust only the older one.
 */
function allPaths(
  leaf: Certificate,
  sent: readonly Certificate[],
  roots: readonly Certificate[],
): Set<Certificate> {
  const above = new Set([leaf]);
  // A loop over a Set also visits what is added meanwhile: the first loop goes up to the roots, the last one down again.
  for (const each of above) for (const issuer of sent) if (isIssuedBy(each, issuer)) above.add(issuer);
  const verified = new Set<Certificate>(roots);
  const trusted = new Set(roots.map(({ sha256 }) => sha256));
  for (const each of above) if (trusted.has(each.sha256)) verified.add(each);
  for (const issuer of verified) for (const each of above) if (isIssuedBy(each, issuer)) verified.add(each);
  return verified.add(leaf);
}

/** Without roots no path can be verified to its end, so only one is kept. */
function firstPath(leaf: Certificate, sent: readonly Certificate[]): Set<Certificate> {
  const path = new Set([leaf]);
  for (const top of path) {
    const issuer = sent.find((each) => !path.has(each) && isIssuedBy(top, each));
    if (issuer) path.add(issuer);
  }
  return path;
}

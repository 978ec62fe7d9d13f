import { context, explicit, integer, oid, parseDer, seq, set, tlv, type Der } from '../../lib/asn1/der.ts';
import { OID } from '../../lib/asn1/oids.ts';
import {
  findSignerCertificate,
  readSignedData,
  type SignedData,
  type SignerInfo,
} from '../../lib/cms/signed-data.ts';
import { invalid } from '../../lib/errors.ts';
import type { Certificate } from '../../lib/x509/certificate.ts';
import { isIssuedBy } from '../../lib/x509/chain.ts';
import { reporting } from './token.ts';

/** Of SignedData over a time, with neither CRLs nor attribute certificates (RFC 5652 section 5.1). */
const VERSION = 3;

/**
 * A token (ContentInfo, DER) that an authority just sent, without what its signature does not cover and no
 * verifier needs: CRLs, unsigned attributes, digest algorithms that its one signer does not use, attribute
 * certificates, and certificates that are not on a proven path from the authority's own to a root. Some
 * authorities send such things along, and anyone on the network can add them; in a signed program they would
 * be bytes that can be changed at will. A token without any comes back byte for byte.
 *
 * Nothing but the path is checked. Throws `timestamp-malformed`.
 */
export const trimToken = (token: Buffer, roots: readonly Certificate[] | undefined, what: string): Der =>
  reporting('timestamp-malformed', () => trimmed(token, roots, what));

function trimmed(token: Buffer, roots: readonly Certificate[] | undefined, what: string): Der {
  const sent = parseDer(token, what);
  const data = readSignedData(sent, what);
  const [signer, another] = data.signers;
  if (!signer || another) throw invalid('timestamp-malformed', `${what}: must have exactly one signature`);
  const kept = seq(oid(OID.signedData), explicit(0, trimmedData(data, signer, roots, what)));
  // What was read once is not read again.
  return kept.equals(token) ? sent : parseDer(kept, what);
}

function trimmedData(
  data: SignedData,
  signer: SignerInfo,
  roots: readonly Certificate[] | undefined,
  what: string,
): Buffer {
  const [, , content] = data.fields;
  const [, , digestAlgorithm] = signer.fields;
  if (!content || !digestAlgorithm) throw invalid('timestamp-malformed', `${what}: not a timestamp`);
  const certificates = pathOf(findSignerCertificate(data, signer), data.certificates, roots);
  return seq(
    integer(VERSION),
    set(digestAlgorithm.raw),
    content.raw,
    ...(certificates.length > 0 ? [tlv(context(0), ...certificates.map(({ raw }) => raw))] : []),
    set(seq(...signer.fields.filter(({ tag }) => tag !== context(1)).map(({ raw }) => raw))),
  );
}

/** No authority sends more than five; each is compared with every other. */
const MOST_CERTIFICATES = 20;

/** The certificates of `sent` that are needed, in their order and once each. */
function pathOf(
  leaf: Certificate | undefined,
  sent: readonly Certificate[],
  roots: readonly Certificate[] | undefined,
): Certificate[] {
  if (!leaf) return [];
  const all = new Map([leaf, ...sent].slice(0, MOST_CERTIFICATES).map((each) => [each.sha256, each]));
  const different = sent.filter((each) => all.delete(each.sha256));
  const needed = roots ? allPaths(leaf, different, roots) : firstPath(leaf, different);
  return different.filter((each) => needed.has(each));
}

/**
 * What lies on a path from `leaf` to a root, each certificate proved by the key above it. All paths are kept:
 * authorities send their root as another, older root certified it, for machines that know only that one.
 */
function allPaths(
  leaf: Certificate,
  sent: readonly Certificate[],
  roots: readonly Certificate[],
): Set<Certificate> {
  const above = new Set([leaf]);
  // A Set visits what is added to it meanwhile, so these two climb up, and down again.
  for (const each of above) for (const issuer of sent) if (isIssuedBy(each, issuer)) above.add(issuer);
  const proved = new Set<Certificate>(roots);
  const trusted = new Set(roots.map(({ sha256 }) => sha256));
  for (const each of above) if (trusted.has(each.sha256)) proved.add(each);
  for (const issuer of proved) for (const each of above) if (isIssuedBy(each, issuer)) proved.add(each);
  return proved.add(leaf);
}

/** Without roots there is nothing to prove the top certificate by, so only one way up is kept. */
function firstPath(leaf: Certificate, sent: readonly Certificate[]): Set<Certificate> {
  const path = new Set([leaf]);
  for (const top of path) {
    const issuer = sent.find((each) => !path.has(each) && isIssuedBy(top, each));
    if (issuer) path.add(issuer);
  }
  return path;
}

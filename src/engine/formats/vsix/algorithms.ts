import type { KnownDigest } from '../../../lib/asn1/oids.ts';

/** XML-DSig's names of digests, and of RSA signatures (PKCS #1 v1.5) with them (RFC 9231). */
const DIGESTS: Readonly<Record<Exclude<KnownDigest, 'md5'>, string>> = {
  sha1: 'http://www.w3.org/2000/09/xmldsig#sha1',
  sha256: 'http://www.w3.org/2001/04/xmlenc#sha256',
  sha384: 'http://www.w3.org/2001/04/xmldsig-more#sha384',
  sha512: 'http://www.w3.org/2001/04/xmlenc#sha512',
};
const SIGNATURES: Readonly<Record<Exclude<KnownDigest, 'md5'>, string>> = {
  sha1: 'http://www.w3.org/2000/09/xmldsig#rsa-sha1',
  sha256: 'http://www.w3.org/2001/04/xmldsig-more#rsa-sha256',
  sha384: 'http://www.w3.org/2001/04/xmldsig-more#rsa-sha384',
  sha512: 'http://www.w3.org/2001/04/xmldsig-more#rsa-sha512',
};

/** A digest that XML-DSig names. */
export type XmlDigest = keyof typeof DIGESTS;

const named = (names: Readonly<Record<XmlDigest, string>>, uri: string | null): XmlDigest | undefined =>
  (Object.keys(names) as XmlDigest[]).find((each) => names[each] === uri);

export const digestUri = (hash: XmlDigest): string => DIGESTS[hash];
export const signatureUri = (hash: XmlDigest): string => SIGNATURES[hash];
export const digestOf = (uri: string | null): XmlDigest | undefined => named(DIGESTS, uri);
export const signatureDigestOf = (uri: string | null): XmlDigest | undefined => named(SIGNATURES, uri);

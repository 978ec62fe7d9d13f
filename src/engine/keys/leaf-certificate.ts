import { OID } from '../../lib/asn1/oids.ts';
import { usage } from '../../lib/errors.ts';
import type { Certificate } from '../../lib/x509/certificate.ts';
import { latestExpiryFirst } from '../../lib/x509/expiry.ts';
import { isIssuedBy } from '../../lib/x509/issuance.ts';

const isForCodeSigning = ({ extendedKeyUsage }: Certificate): boolean =>
  extendedKeyUsage?.includes(OID.codeSigning) ?? false;

/** Those that issued none of the others; an authority only if there is nothing else. */
function ends(certificates: readonly Certificate[]): readonly Certificate[] {
  const last = certificates.filter(
    (each) =>
      isForCodeSigning(each) && !certificates.some((other) => other !== each && isIssuedBy(other, each)),
  );
  const subscribers = last.filter(({ isCa }) => !isCa);
  return subscribers.length > 0 ? subscribers : last;
}

/**
 * The certificate of the key in a chain in any order, for kinds of keys that cannot say which it is: the one for code
 * signing that issued none of the others; of several for one key, as after a renewal, the one that expires last. Throws
 * `key-certificate-unclear` (usage) if there is none, or they are for different keys.
 */
export function leafOf(certificates: readonly Certificate[], what: string): Certificate {
  const distinct = new Map(certificates.map((each) => [each.sha256, each])).values();
  const [leaf, ...others] = ends([...distinct]).toSorted(latestExpiryFirst);
  if (leaf && others.every(({ publicKey }) => publicKey.equals(leaf.publicKey))) return leaf;
  const found = leaf ? `${others.length + 1} certificates that may be` : 'no certificate that can be';
  throw usage('key-certificate-unclear', `${what}: has ${found} that of the signing key`, {
    hint: 'the file must have one certificate for code signing, and beside it only those of its issuers',
  });
}

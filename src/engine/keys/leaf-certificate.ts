import { OID } from '../../lib/asn1/oids.ts';
import { usage } from '../../lib/errors.ts';
import type { Certificate } from '../../lib/x509/certificate.ts';
import { isIssuedBy } from '../../lib/x509/issuance.ts';

/**
 * The certificate of the key in a chain in any order, for kinds of keys that cannot say which it is: the one for code
 * signing that issued none of the others. Throws `key-certificate-unclear` (usage) unless there is exactly one.
 */
export function leafOf(certificates: readonly Certificate[], what: string): Certificate {
  const leaves = certificates.filter(
    (each) =>
      (each.extendedKeyUsage?.includes(OID.codeSigning) ?? false) &&
      !certificates.some((other) => other !== each && isIssuedBy(other, each)),
  );
  const [leaf, second] = leaves;
  if (leaf && !second) return leaf;
  const found = leaf ? `${leaves.length} certificates that may be` : 'no certificate that can be';
  throw usage('key-certificate-unclear', `${what}: has ${found} that of the signing key`, {
    hint: 'the file must have one certificate for code signing, and beside it only those of its issuers',
  });
}

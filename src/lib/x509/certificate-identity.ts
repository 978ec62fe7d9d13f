import type { Certificate } from './certificate.ts';

/** Parent of the EKUs by which Azure Artifact Signing names a publisher in certificates that live for three days. */
const DURABLE_IDENTITY = '1.3.6.1.4.1.311.97.';
/** Marks every public certificate of that service, and so identifies no single publisher. */
const PUBLIC_TRUST = '1.3.6.1.4.1.311.97.1.0';

/** What stays the same when a certificate is renewed: its durable identity EKU, or its subject and issuer. */
export type CertificateIdentity =
  | { readonly eku: string }
  | { readonly subject: string; readonly issuer: string };

/** The identity of a signing certificate. */
export function certificateIdentity({ subject, issuer, extendedKeyUsage }: Certificate): CertificateIdentity {
  const eku = extendedKeyUsage?.find((oid) => oid.startsWith(DURABLE_IDENTITY) && oid !== PUBLIC_TRUST);
  return eku === undefined ? { subject, issuer } : { eku };
}

/**
 * An identity as text: the OID of the EKU, or `SUBJECT; ISSUER`. A name that has an equals sign within a value has quotes
 * around it, so that no two identities have the same text.
 */
export const identityText = (identity: CertificateIdentity): string =>
  'eku' in identity ? identity.eku : `${identity.subject}; ${identity.issuer}`;

/** Whether two identities are the same. */
export const isSameIdentity = (a: CertificateIdentity, b: CertificateIdentity): boolean =>
  identityText(a) === identityText(b);

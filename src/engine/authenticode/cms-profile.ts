import { parseDer } from '../../lib/asn1/der.ts';
import type { CmsStyle } from '../../lib/cms/build-signed-data.ts';
import type { SignedData, SignerInfo } from '../../lib/cms/signed-data.ts';
import type { Certificate } from '../../lib/x509/certificate.ts';
import type { Description, Finding, SignedContent, SigningSubject } from '../formats/signature-scheme.ts';

/** A parsed signature that is SignedData with one signer. Nothing in it has been verified. */
export interface CmsSignature {
  readonly data: SignedData;
  /** The one signer. */
  readonly signer: SignerInfo;
  /** The signer's certificate, if the signature includes it. */
  readonly certificate: Certificate | undefined;
  /** What it signs; only the format of the file knows how to read it. */
  readonly content: SignedContent;
  readonly description: Description;
  /** The time that the signer claims; unverified. */
  readonly signingTime: Date | undefined;
  /** RFC 3161 tokens (ContentInfo, DER) over the signature value; normally one at most. */
  readonly timestamps: readonly Buffer[];
  /** Timestamps older than RFC 3161: PKCS #9 countersignatures (SignerInfo, DER). */
  readonly counterSignatures: readonly Buffer[];
  /** Further signatures of the same file, nested in this one (ContentInfo, DER). */
  readonly nested: readonly Buffer[];
}

/** The unsigned attributes that a kind of signature may have, by their OIDs. */
interface UnsignedAttributes {
  /** An RFC 3161 token over the signature value. */
  readonly timestamp: string;
  /** A PKCS #9 countersignature that is a timestamp; null if there is no such thing. */
  readonly legacyTimestamp: string | null;
  /** Further signatures of the same file; null if they cannot be nested. */
  readonly nested: string | null;
  /** Others, which `findings` of the profile examines. */
  readonly others: readonly string[];
}

/** What distinguishes one kind of signatures in CMS from another: everything else is common to all. */
export interface CmsProfile {
  /** Its name in receipts. */
  readonly name: string;
  /** Version of SignedData. */
  readonly version: 1 | 3;
  readonly style: CmsStyle;
  readonly attributes: UnsignedAttributes;
  /** Whether the signature includes the root of the signer's chain. */
  readonly includesRoot: boolean;
  /** Whether the signed attributes name the signer's certificate. */
  readonly namesCertificate: boolean;
  /** The signed attributes of a new signature, DER. */
  signedAttributes(subject: SigningSubject): Buffer[];
  /** Throws unless SignerInfo has the version and the attributes that this kind prescribes. */
  requireSignerForm(signature: CmsSignature, what: string): void;
  /** Unusual but harmless properties. */
  notes?(signature: CmsSignature): Finding[];
  /** What lies in the other unsigned attributes that no verifier needs; `label` names the signature. */
  otherFindings?(signature: CmsSignature, label: string): Finding[];
  /** Certificates in SignedData that others than the signer and its timestamp need. */
  otherCertificates?(signature: CmsSignature, label: string): Certificate[];
}

/** What the messageDigest attribute covers: the content without tag and length (RFC 2315 section 9.3), of any type. */
export const digestedBytes = ({ der }: SignedContent): Buffer => parseDer(der, 'content').body;

import type { KeyObject } from 'node:crypto';
import type { Der } from '../../lib/asn1/der.ts';
import type { DigestName, KnownDigest } from '../../lib/asn1/oids.ts';
import type { Certificate } from '../../lib/x509/certificate.ts';

/** What a signature signs: the content type of its SignedData, and the content itself in DER. */
export interface SignedContent {
  readonly type: string;
  /** DER; in a scheme whose signatures are not CMS, the bytes that it digests. */
  readonly der: Buffer;
}

/** The digest of a file that the content of a signature states. */
export interface FileDigest {
  readonly hash: KnownDigest;
  readonly digest: Buffer;
}

/** Something in a signed file that no signature covers and no verifier needs, by a stable code. */
export interface Finding {
  readonly code: string;
  readonly message: string;
}

/** A description of the program in its signature, for people. */
export interface Description {
  /** Name of the program. */
  readonly name: string | null;
  /** Where to read more about it. */
  readonly url: string | null;
}

/** Which parts of a signature to examine for what no verifier needs, besides its attributes and fields. */
export interface FindingScope {
  /** Its certificates. All are without use if the signer's own, or a timestamp's, is missing. */
  readonly certificates: boolean;
  /** Its timestamps, which must be readable. */
  readonly timestamps: boolean;
  /** Roots for the signer, and for timestamp authorities; null if none were given. */
  readonly roots: readonly Certificate[] | null;
  readonly timestampRoots: readonly Certificate[] | null;
}

/** Which of a file's signatures is meant. */
export interface SignaturePlace {
  /** 0 is the primary signature; the others follow in the file's order. */
  readonly index: number;
  /** Whether it is nested in another one (Microsoft's attribute 1.3.6.1.4.1.311.2.4.1). */
  readonly nested: boolean;
}

/** Timestamps of a signature, and what they are over. */
export interface Timestamped {
  /** The signature value. */
  readonly value: Buffer;
  /** RFC 3161 tokens (ContentInfo) over the signature value; normally one at most. */
  readonly timestamps: readonly Der[];
  /** Timestamps older than RFC 3161: PKCS #9 countersignatures (SignerInfo, DER). */
  readonly legacyTimestamps: readonly Buffer[];
  /** All certificates in the signature. */
  readonly certificates: readonly Certificate[];
}

/**
 * A signature that was read. Nothing in it has been verified: each method checks one thing and throws an `invalid` error
 * with a stable code, whose message begins with `what`.
 */
export interface ReadSignature extends Timestamped {
  /** The signer's certificate, if the signature includes it. */
  readonly certificate: Certificate | undefined;
  /** What it signs; only the format of the file knows how to read it. */
  readonly content: SignedContent;
  readonly description: Description;
  /** The time that the signer claims. */
  readonly signingTime: Date | undefined;
  /** Further signatures of the same file, nested in this one. */
  readonly nested: readonly Buffer[];
  /** Unusual but harmless properties. */
  readonly notes: readonly Finding[];
  /** The digest algorithm that the signer names; throws `cms-digest-unknown`. */
  digestAlgorithm(what: string): KnownDigest;
  /** Requires the form that the scheme prescribes, and one digest algorithm throughout; `stated` is that of its content. */
  requireForm(stated: KnownDigest, what: string): void;
  /** Requires that what the key signed names this content by its digest. */
  requireContent(what: string): void;
  /** Checks the signature value with the signer's key. */
  requireValue(key: KeyObject, what: string): void;
  /** What it carries that neither it nor anything else covers, and that no verifier needs. */
  findings(place: SignaturePlace, scope: FindingScope): Finding[];
}

/** What a new signature is about. */
export interface SigningSubject {
  readonly content: SignedContent;
  readonly hash: DigestName;
  readonly description: Description;
  /** Given only if the caller wants a time in it; a scheme that needs one takes the present otherwise. */
  readonly signingTime?: Date | undefined;
  /** The signer's chain, leaf first, as it is known before signing. */
  readonly certificates: readonly [Certificate, ...Certificate[]];
}

/** What the key has made. */
export interface SignedDraft {
  readonly value: Buffer;
  readonly key: 'rsa' | 'ecdsa';
  /** The chain that it verifies with, leaf first, without the root. */
  readonly certificates: readonly [Certificate, ...Certificate[]];
  /** Roots, among which a scheme that includes the signer's root looks for it. */
  readonly roots: readonly Certificate[];
  /** RFC 3161 token (ContentInfo, DER). */
  readonly timestamp?: Buffer | undefined;
}

/** A signature that is being made. */
export interface SignatureDraft {
  /** What the key signs, before it is hashed. */
  readonly toSign: Buffer;
  /** The signature, as `read` reads it. */
  finish(made: SignedDraft): Buffer;
}

/**
 * How signatures of a kind look, and what they must be like. `engine/authenticode` makes and verifies all kinds in the same
 * steps; its own scheme is that of every format that names no other.
 */
export interface SignatureScheme {
  /** Its name in receipts: `authenticode`, `nuget-author`, `opc`. */
  readonly name: string;
  /**
   * Reads a signature; those nested in it stay bytes. Repeated calls with the same buffer, which must not change, are cheap.
   * Throws `invalid` errors.
   */
  read(signature: Buffer, what: string): ReadSignature;
  /** Whether what the key signs names its certificate: with another one than was expected, it has to sign again. */
  readonly namesCertificate: boolean;
  /** Begins a new signature; throws `usage` or `invalid` errors if it cannot be made with this certificate. */
  draft(subject: SigningSubject): SignatureDraft;
}

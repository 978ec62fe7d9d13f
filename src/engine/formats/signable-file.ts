import type { DigestName, KnownDigest } from '../../lib/asn1/oids.ts';
import type { ByteRange } from '../../lib/bytes/byte-range.ts';
import type { PatchedSource } from '../../lib/bytes/patched-source.ts';
import type { ByteSource } from '../../lib/bytes/byte-source.ts';

/** Something that a signed file has and that no signature covers or needs, by a stable code. */
export interface Untidiness {
  readonly code: string;
  readonly message: string;
}

export interface Checksum {
  readonly stored: number;
  readonly computed: number;
  /** What it may have been before the file was signed, which some signers leave there: with 0 to 7 bytes of padding. */
  readonly unsigned: readonly number[];
}

/**
 * Whether a checksum, which no digest covers, is one that the file itself explains; 0 means that it was never
 * computed. Any other value could be a message.
 */
export const isExplained = ({ stored, computed, unsigned }: Checksum): boolean =>
  stored === 0 || stored === computed || unsigned.includes(stored);

/**
 * What a format that can carry an Authenticode signature offers. Reading it never changes the source,
 * which is taken not to change either while the image is in use.
 */
export interface SignableImage {
  readonly format: 'pe';
  readonly source: ByteSource;
  /** The embedded signature, a PKCS#7 ContentInfo in DER without its padding; null when there is none. */
  readonly signature: Buffer | null;
  /**
   * All signatures that are embedded side by side, `signature` the first. Only UEFI programs may have more than
   * one: Windows ignores all but the first, and nests further ones in it.
   */
  readonly signatures: readonly Buffer[];
  /** Bytes beside the signature that a verifier would never look at (CVE-2013-3900); empty in a tidy file. */
  readonly tableSlack: readonly Untidiness[];
  /** Where what is signed ends and the signature, or the end of the file, begins. */
  readonly bodyEnd: number;
  /** Fields before `bodyEnd` that signing rewrites and no digest covers, in order. */
  readonly rewritten: readonly ByteRange[];
  /**
   * The Authenticode digest of the file as it would be hashed for signing: without any signature it
   * carries, padded to eight bytes. It is the digest to compare with too, when verifying. The file
   * is read once for each algorithm, and `checksum` and `embed` need no reading after that.
   */
  digest(hash: KnownDigest): Promise<Buffer>;
  /** Throws `pe-too-large` or `burn-bundle` if it can be read and must not be signed; reads nothing. */
  requireSignable(): void;
  /** SpcIndirectDataContent in DER: what a signature over `digest` signs. */
  indirectData(hash: DigestName, digest: Buffer): Buffer;
  /** The file with this signature in the place of any it carries, its checksum right. */
  embed(signature: Buffer): Promise<PatchedSource>;
  /**
   * The file without its signature, its checksum right. Up to seven zero bytes of padding that
   * signing added before the signature stay: nothing in the file tells them from an overlay.
   */
  remove(): Promise<PatchedSource>;
  /** The checksum in the file's header and the one that it should hold; null in formats that have none. */
  checksum(): Promise<Checksum | null>;
  /** The structure that a byte belongs to, for messages: `section .text, byte 0x1f`. */
  locate(offset: number): string;
}

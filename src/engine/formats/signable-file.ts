import type { DigestName, KnownDigest } from '../../lib/asn1/oids.ts';
import type { PatchedSource } from '../../lib/bytes/patched-source.ts';
import type { ByteSource } from '../../lib/bytes/byte-source.ts';
import type { Certificate } from '../../lib/x509/certificate.ts';
import type { ArchiveLimits } from '../../lib/zip/limits.ts';
import type { Container } from './container.ts';
import type {
  FileDigest,
  Finding,
  ReadSignature,
  SignatureScheme,
  SignedContent,
} from './signature-scheme.ts';

export type { FileDigest, Finding, SignatureScheme, SignedContent } from './signature-scheme.ts';

/** Choices of what a signature says beside the digest; a format ignores those that it does not know. */
export interface ContentOptions {
  /** PE: whether to sign a hash of every page too, as some drivers need it. */
  readonly pageHashes?: boolean | undefined;
  /** The time that the signature claims, if one was asked for. */
  readonly signingTime?: Date | undefined;
  /**
   * VSIX, to repeat a run of .NET, which makes these names by chance: the file name of the signature's part without its
   * extension, the ids of two relationships, and the time as text.
   */
  readonly opc?:
    | {
        readonly part: string;
        readonly originId: string;
        readonly signatureId: string;
        readonly time: string;
      }
    | undefined;
}

/** Id and time of a catalog, which another run of signing would choose differently. */
export interface CatalogRun {
  /** 16 bytes. */
  readonly id: Buffer;
  readonly time: Date;
}

/** What a format needs to complete a file before its digest is computed; see `prepare`. */
export interface Preparation {
  readonly hash: DigestName;
  readonly certificate: Certificate;
  /** The time of signing, for fields that hold one. */
  readonly time: Date;
  /** What the catalog of a package holds besides its programs, to repeat an earlier run; chosen by the format otherwise. */
  readonly catalog?: CatalogRun | undefined;
  /** Whether the signature will be nested in the first one that is there, if there is one. */
  readonly appends: boolean;
  /** Signs content with the same key, without a timestamp: a PKCS #7 ContentInfo in DER. */
  sign(content: SignedContent): Promise<Buffer>;
}

/** What `embed` writes beside the signature. */
export interface EmbedOptions {
  /**
   * The time for fields of the container that hold one and that no digest covers. If it is left out, the format takes it
   * from the signature or leaves the field alone, so that attaching the signature again gives the same bytes.
   */
  readonly time?: Date | undefined;
}

/**
 * A file that is open for signing and verifying: all that `engine/authenticode` has to know of its format. A format
 * is a folder beside this file with an implementation, and a line in `registry.ts`. Reading never changes the
 * source, which must not change either while it is open.
 *
 * - PE: the signatures lie in the certificate table; CheckSum is a field that signing rewrites.
 * - MSI, scripts, CAB: `contentToSign` wraps an SpcSipInfo or SpcLink of the format's own; `requireSameContent`
 *   compares streams, text or folders.
 * - Catalog: the whole file is the signature. `contentToSign` returns its CTL, with the content type of a CTL;
 *   `digest` hashes the CTL of the file, `readContent` the one of a signature.
 * - MSIX: the digest consists of several, one after another; `requireSigner` compares publisher and subject.
 * - NuGet and VSIX: the signatures are not Authenticode; `scheme` reads and makes them.
 */
export interface SignableFile {
  /** The format's name in reports and receipts: `pe`. */
  readonly format: string;
  /** The kind of its signatures, if that is not Authenticode. */
  readonly scheme?: SignatureScheme | undefined;
  readonly source: ByteSource;
  /**
   * The embedded signatures (PKCS #7 ContentInfo in DER, without padding, unless `scheme` says otherwise), those side by
   * side in the file's order; empty if there are none. Signatures nested in these are left in them.
   */
  readonly signatures: readonly Buffer[];
  /** Whether another signature can be appended: false if `embed` would lose something beside those that are there. */
  readonly canNest: boolean;
  /**
   * Whether another signature is put beside those of the file, instead of being nested in the first; `embed` is then given
   * all of them, one after another. Left out if it is nested.
   */
  readonly appendsBeside?: boolean;
  /** Bytes beside the signatures that no verifier looks at; empty in a clean file. */
  readonly unauthenticatedData: readonly Finding[];
  /** Throws if the file can be read but must not be signed (`pe-too-large`, `burn-bundle`); reads nothing. */
  requireSignable(): void;
  /** Throws if this certificate cannot sign this file; left out if any code-signing certificate can. */
  requireSigner?(certificate: Certificate, what: string): void;
  /**
   * The digest that a signature of the file states, whether it is about to be signed or verified: over the file
   * without its signatures, as it will be once signed. The file is read once for each algorithm, and not again by
   * `embed`.
   */
  digest(hash: KnownDigest): Promise<Buffer>;
  /**
   * Completes the file before it is signed, if more than a signature has to be added: MSIX gets a catalog of its programs,
   * signed with the same key. Returns the file whose digest is then signed; its `embed` describes the result as a delta
   * over `source` of this file.
   */
  prepare?(preparation: Preparation): Promise<SignableFile>;
  /** What a signature over `digest` signs. */
  contentToSign(
    hash: DigestName,
    digest: Buffer,
    options: ContentOptions,
  ): SignedContent | Promise<SignedContent>;
  /**
   * The digest in the content of a signature, which anyone may have made. `signerHash` is the digest algorithm of
   * its signer, for formats whose content names none. Throws `authenticode-…` or `der-malformed` if a signature of
   * this format cannot sign such content.
   */
  readContent(content: SignedContent, signerHash: KnownDigest, what: string): FileDigest;
  /**
   * Checks what the content of a signature states about the file beside the digest; left out if it never states more.
   * Throws if it is wrong; returns what was checked, to complete "the file has the digest and the …", or null if it states nothing more.
   */
  requireStated?(content: SignedContent, what: string): Promise<string | null>;
  /** The file with this signature in place of any that it carries. */
  embed(signature: Buffer, options?: EmbedOptions): Promise<PatchedSource>;
  /**
   * All that signing adds to the file together with this signature, from which `attach` makes the signed file out of the
   * unsigned one; left out if that is the signature alone, which `embed` then attaches. Of a signed file, ask with the
   * first of its `signatures`.
   */
  detached?(signature: Buffer, options?: EmbedOptions): Promise<Buffer>;
  /** The unsigned file with what `detached` returned; left out together with it. */
  attach?(detached: Buffer): Promise<PatchedSource>;
  /** The file without its signatures. What signing added before them for alignment may stay. */
  remove(): Promise<PatchedSource>;
  /**
   * Forms of `size` bytes that the file may have had before it was signed: without its signatures and what signing
   * added for alignment, and with every value that is usual in fields that signing rewrites. Empty if it cannot have had
   * that size; left out if `remove` gives the only form.
   */
  unsignedForms?(size: number): Promise<readonly PatchedSource[]>;
  /**
   * What lies in fields that signing rewrites and no digest covers, unless the file explains it; left out if the
   * format has no such fields. Ask last: in a changed file these fields are wrong as well.
   */
  uncoveredFields?(): Promise<readonly Finding[]>;
  /**
   * The files inside, if the format is a container; left out if it is none, or null if this file holds nothing that could be
   * a program. Throws if there are more, or larger ones, than the limits permit.
   */
  container?(limits: ArchiveLimits): Promise<Container | null>;
  /** Throws `strip-…`, naming the place, unless this file equals `original` except for signatures and what they need. */
  requireSameContent(original: SignableFile): Promise<void>;
}

/** A signature that was read without the file that it belongs to; see `FileFormat.readDetached`. */
export interface SignatureWithoutFile {
  readonly signature: ReadSignature;
  /** The digest that it signs; throws what `SignableFile.readContent` does. */
  digest(): FileDigest;
}

/** A format that can be signed, before a file of it is open. */
export interface FileFormat {
  readonly name: string;
  /** Its files and their marks, for hints. */
  readonly description: string;
  /** Usual extensions of its files in lower case. */
  readonly extensions: readonly string[];
  /**
   * Whether its files have no marks and are known only by name, as with scripts. Such files are everywhere and usually
   * not signed: in a zip, one without a signature counts as a program only if the patterns name it.
   */
  readonly byName?: true;
  /**
   * For a format with `byName`: byte strings of which every signed file of this name holds one, so that signed ones are found
   * among thousands without being opened.
   */
  signatureMarks?(fileName: string): readonly Buffer[];
  /** Whether its files are zips, which any unpacker may open: their name may then say so. */
  readonly isZip?: true;
  /** Recognises a file by its first bytes, or by its name if the content of the format has no marks. */
  looksLike(head: Buffer, fileName: string): boolean;
  /** Decides about a file that `looksLike` accepted; left out if its first bytes suffice. Packages look like any zip. */
  confirm?(source: ByteSource): Promise<boolean>;
  /** Throws if a file of this size cannot be signed, whatever its content; left out if there is no such limit. */
  requireSize?(size: number, name: string): void;
  open(source: ByteSource): Promise<SignableFile>;
  /** The extension of its detached signatures if they are more, or something else, than a PKCS #7 ContentInfo in DER (`p7`). */
  readonly detachedExtension?: string;
  /**
   * Reads what `detached` of an open file returned, every byte, without the file: its signatures in the file's order, each
   * followed by those nested in it. Left out if it is one Authenticode signature over SpcIndirectDataContent with one digest.
   */
  readDetached?(detached: Buffer, what: string): Promise<readonly SignatureWithoutFile[]>;
}

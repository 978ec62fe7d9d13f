import { createHash } from 'node:crypto';
import {
  children,
  context,
  DerReader,
  parseDer,
  readOid,
  readSmallInteger,
  TAG,
  type Der,
} from '../../../lib/asn1/der.ts';
import { explicit, integer, oid, seq, tlv } from '../../../lib/asn1/encode-der.ts';
import { OID, type DigestName, type KnownDigest } from '../../../lib/asn1/oids.ts';
import type { ByteRange } from '../../../lib/bytes/byte-range.ts';
import { readAll, type ByteSource } from '../../../lib/bytes/byte-source.ts';
import { PatchedSource } from '../../../lib/bytes/patched-source.ts';
import { invalid } from '../../../lib/errors.ts';
import { readSignature } from '../../authenticode/signature.ts';
import { readWithoutFile } from '../../authenticode/signature-without-file.ts';
import type { FileDigest, SignableFile, SignatureWithoutFile, SignedContent } from '../signable-file.ts';
import { requireCatalogSize } from './catalog-size.ts';
import { parseTrustList, type TrustList } from './trust-list.ts';

/*
 * A catalog is a PKCS #7 SignedData whose content is the list of files: without a signer as makecat and inf2cat make it,
 * with one once it is signed. So the whole file is the signature.
 */

/** Opens a catalog; throws `catalog-…` or `der-malformed`. */
export async function openCatalog(source: ByteSource): Promise<CatalogFile> {
  requireCatalogSize(source.size, source.name);
  return new CatalogFile(source, await readAll(source, source.size));
}

/** An open catalog. It is held in memory. */
export class CatalogFile implements SignableFile {
  readonly format = 'catalog';
  readonly signatures: readonly Buffer[];
  /** Only as long as there is none: whether Windows reads signatures nested in that of a catalog is not known. */
  readonly canNest: boolean;
  /** None: what lies in the SignedData beside the list is examined as part of the signature. */
  readonly unauthenticatedData = [];
  /** What the catalog says. */
  readonly list: TrustList;
  /** The list in DER, and where it lies in the file. */
  private readonly content: Buffer;
  private readonly range: ByteRange;

  constructor(
    readonly source: ByteSource,
    bytes: Buffer,
  ) {
    const { content, signed } = readCatalog(bytes, source.name);
    this.signatures = signed ? [bytes] : [];
    this.canNest = !signed;
    this.list = parseTrustList(content, source.name);
    this.content = content;
    const start = content.byteOffset - bytes.byteOffset;
    this.range = { start, end: start + content.length };
  }

  requireSignable(): void {
    if (this.list.entries.length === 0 && this.list.attributes.length === 0)
      throw invalid('catalog-empty', `${this.source.name}: the catalog lists nothing`);
  }

  /** Over the list without its tag and length, as the signer's messageDigest is. */
  digest(hash: KnownDigest): Promise<Buffer> {
    return Promise.resolve(digestOf(this.content, hash, this.source.name));
  }

  contentToSign(_hash: DigestName, _digest: Buffer): SignedContent {
    return { type: OID.ctl, der: this.content };
  }

  readContent(content: SignedContent, signerHash: KnownDigest, what: string): FileDigest {
    return readListDigest(content, signerHash, what);
  }

  /** The new file is the signature; it has to be one of this list. */
  // eslint-disable-next-line require-await -- a refusal is a rejection, not a throw
  async embed(signature: Buffer): Promise<PatchedSource> {
    const { der } = readSignature(signature, `${this.source.name}: signature`).content;
    if (!der.equals(this.content))
      throw invalid('not-its-signature', `${this.source.name}: the signature is one of another catalog`);
    const start = der.byteOffset - signature.byteOffset;
    return PatchedSource.of(this.source, [
      signature.subarray(0, start),
      this.range,
      signature.subarray(start + der.length),
    ]);
  }

  // eslint-disable-next-line require-await -- a refusal is a rejection, not a throw
  async remove(): Promise<PatchedSource> {
    if (this.signatures.length === 0)
      throw invalid(
        'catalog-not-signed',
        `${this.source.name}: it carries no signature that could be removed`,
      );
    const unsigned = buildUnsignedCatalog(this.content);
    const start = unsigned.indexOf(this.content);
    return PatchedSource.of(this.source, [
      unsigned.subarray(0, start),
      this.range,
      unsigned.subarray(start + this.content.length),
    ]);
  }

  /** Throws `strip-body-differs` unless both list the same. */
  // eslint-disable-next-line require-await -- a refusal is a rejection, not a throw
  async requireSameContent(original: SignableFile): Promise<void> {
    if (!(original instanceof CatalogFile))
      throw invalid('not-the-same-kind', `${this.source.name}: a catalog, ${original.source.name} is not`);
    if (!original.content.equals(this.content))
      throw invalid(
        'strip-body-differs',
        `${this.source.name}: it is not ${original.source.name} plus a signature: the lists of files differ`,
      );
  }
}

const digestOf = (list: Buffer, hash: KnownDigest, what: string): Buffer =>
  createHash(hash).update(parseDer(list, what).body).digest();

function readListDigest({ type, der }: SignedContent, signerHash: KnownDigest, what: string): FileDigest {
  if (type !== OID.ctl)
    throw invalid('authenticode-content', `${what}: signs content type ${type}, expected a catalog's list`);
  parseTrustList(der, what);
  return { hash: signerHash, digest: digestOf(der, signerHash, what) };
}

/** Reads the signature of a catalog, which is the catalog, without the file. */
// eslint-disable-next-line require-await -- a refusal is a rejection, not a throw
export async function readDetachedCatalog(detached: Buffer, what: string): Promise<SignatureWithoutFile[]> {
  return readWithoutFile(detached, what, { readContent: readListDigest });
}

/** SignedData without a signer, as makecat and inf2cat write it. */
export const buildUnsignedCatalog = (list: Buffer): Buffer =>
  seq(
    oid(OID.signedData),
    explicit(0, seq(integer(1), tlv(TAG.set), seq(oid(OID.ctl), explicit(0, list)), tlv(TAG.set))),
  );

/** The list in a catalog, and whether it is signed. An unsigned one must be what `buildUnsignedCatalog` writes. */
function readCatalog(bytes: Buffer, name: string): { readonly content: Buffer; readonly signed: boolean } {
  const info = DerReader.of(bytes, name);
  readOid(info.next(), name);
  const data = DerReader.of(info.next(context(0)).body, name);
  info.end();
  readSmallInteger(data.next(TAG.integer), name);
  data.next(TAG.set);
  const content = readContentOf(data.next(), name);
  data.optional(context(0));
  data.optional(context(1));
  const signed = children(data.next(TAG.set), name).length > 0;
  data.end();
  if (!signed && !buildUnsignedCatalog(content.raw).equals(bytes))
    throw invalid(
      'catalog-malformed',
      `${name}: it has no signer, but digest algorithms, certificates or something else beside its list`,
      { hint: 'make the catalog again: without a signature it holds nothing but the list' },
    );
  return { content: content.raw, signed };
}

function readContentOf(encapsulated: Der, name: string): Der {
  const reader = new DerReader(encapsulated, name);
  const type = readOid(reader.next(), name);
  const wrapped = reader.next(context(0));
  reader.end();
  if (type !== OID.ctl)
    throw invalid('catalog-malformed', `${name}: it holds content type ${type}, not a list`);
  return parseDer(wrapped.body, name);
}

import { oncePerKey } from '../../../lib/concurrency/once-per-key.ts';
import type { DigestName, KnownDigest } from '../../../lib/asn1/oids.ts';
import { BufferSource, type ByteSource } from '../../../lib/bytes/byte-source.ts';
import { whole, type SourceRange } from '../../../lib/bytes/concatenated-source.ts';
import { hashRanges } from '../../../lib/bytes/hash-and-compare.ts';
import { PatchedSource } from '../../../lib/bytes/patched-source.ts';
import { openCabinet, type Cabinet } from '../../../lib/cabinet/cabinet.ts';
import { invalid } from '../../../lib/errors.ts';
import type { ArchiveLimits } from '../../../lib/zip/limits.ts';
import type { Container } from '../container.ts';
import type { FileDigest, Finding, SignableFile, SignedContent } from '../signable-file.ts';
import { buildCabContent, readCabContent } from './cab-content.ts';
import { requireSignableCab } from './cab-rules.ts';
import { readHead, withoutArea, withArea, type CabinetHead } from './head.ts';
import { requireSameCabinet } from './same-content.ts';
import {
  buildSignatureArea,
  INSERTED,
  padded,
  readCabSignature,
  readSignatureArea,
  type SignatureArea,
} from './signature-area.ts';

/** Opens a cabinet; throws `cab-…`. */
export async function openCab(source: ByteSource): Promise<CabFile> {
  const cabinet = await openCabinet(source);
  const head = await readHead(cabinet);
  const area = await readSignatureArea(source, cabinet.header);
  const found = area && (await readCabSignature(source, cabinet.header, area));
  return new CabFile(cabinet, head, area, found);
}

/** An open cabinet. */
export class CabFile implements SignableFile {
  readonly format = 'cab';
  readonly canNest = true;
  readonly source: ByteSource;
  readonly signatures: readonly Buffer[];
  readonly unauthenticatedData: readonly Finding[];

  constructor(
    readonly cabinet: Cabinet,
    private readonly head: CabinetHead,
    readonly area: SignatureArea | null,
    found: { readonly signature: Buffer; readonly findings: readonly Finding[] } | null,
  ) {
    this.source = cabinet.source;
    this.signatures = found ? [found.signature] : [];
    this.unauthenticatedData = found?.findings ?? [];
  }

  /** Where the signature is, or will be. */
  get signatureAt(): number {
    return this.area?.offset ?? this.cabinet.header.size + INSERTED;
  }

  requireSignable(): void {
    requireSignableCab(this);
  }

  readonly digest = oncePerKey(async (hash: KnownDigest) => {
    const { digest } = await hashRanges(this.covered(), { algorithm: hash });
    return digest;
  });

  /**
   * What the digest covers, of the cabinet as it is once it is signed: all up to the signature, except csumHeader, the sizes
   * of the reserved areas, and the part of the header's area that says where the signature is. As jsign, and Microsoft's
   * tools for every file at hand; osslsigncode leaves out iCabinet and covers four bytes of that part instead, which is the
   * same as long as they are 0. Throws `cab-reserve` if it is not signed and has reserved areas, for which no signed form is
   * known.
   */
  covered(): SourceRange[] {
    const { source, area } = this;
    const { header } = this.cabinet;
    this.requireKnownForm();
    const { fixed, folders } = area ? this.head : withArea(this.head);
    const inMemory = (bytes: Buffer): SourceRange => whole(new BufferSource(bytes, source.name));
    const structure1 = area?.structure1 ?? { start: 0, end: 0 };
    const len1 = Buffer.alloc(2);
    len1.writeUInt16LE(structure1.end - structure1.start);
    return [
      inMemory(fixed.subarray(0, 4)),
      inMemory(fixed.subarray(8)),
      inMemory(len1),
      { source, ...structure1 },
      { source, ...header.names },
      inMemory(folders),
      { source, start: header.filesAt, end: area?.offset ?? header.size },
    ];
  }

  private requireKnownForm(): void {
    if (this.area || !this.cabinet.header.reserve) return;
    throw invalid(
      'cab-reserve',
      `${this.source.name}: it has reserved areas of its own, and no signed form of it is known`,
      { hint: 'make the cabinet without reserved areas; signing adds the one that it needs' },
    );
  }

  contentToSign(hash: DigestName, digest: Buffer): SignedContent {
    return buildCabContent(hash, digest, this.signatureAt);
  }

  readContent(content: SignedContent, _signerHash: KnownDigest, what: string): FileDigest {
    return readCabContent(content, this.signatureAt, what);
  }

  // eslint-disable-next-line require-await -- a refusal is a rejection, not a throw
  async embed(signature: Buffer): Promise<PatchedSource> {
    const { source, area } = this;
    const { names, filesAt, size } = this.cabinet.header;
    this.requireKnownForm();
    const content = padded(signature);
    const fields = buildSignatureArea(this.signatureAt, content.length);
    if (area) {
      const { fieldsAt, offset } = area;
      const before = { start: 0, end: fieldsAt };
      const after = { start: fieldsAt + 8, end: offset };
      return PatchedSource.of(source, [before, fields.subarray(8, 16), after, content]);
    }
    const { fixed, folders } = withArea(this.head);
    const rest = { start: filesAt, end: size };
    return PatchedSource.of(source, [fixed, fields, names, folders, rest, content]);
  }

  async remove(): Promise<PatchedSource> {
    const { source, area } = this;
    const { names, filesAt, size } = this.cabinet.header;
    if (!area)
      throw invalid('cab-not-signed', `${source.name}: it carries no signature that could be removed`);
    if (!area.usual)
      throw invalid(
        'cab-reserve',
        `${source.name}: its signature lies in a reserved area of its own, which was there before it was signed`,
        { hint: 'start from the unsigned file' },
      );
    const { fixed, folders } = withoutArea(this.head);
    return PatchedSource.of(source, [fixed, names, folders, { start: filesAt, end: size }]);
  }

  async container(limits: ArchiveLimits): Promise<Container | null> {
    if (this.cabinet.members.length === 0) return null;
    const { openCabinetContainer } = await import('./cabinet-container.ts');
    const usual = !this.cabinet.header.reserve || this.area?.usual;
    return openCabinetContainer(
      this.cabinet,
      limits,
      usual ? null : 'is in a cabinet with reserved areas of its own',
    );
  }

  async requireSameContent(original: SignableFile): Promise<void> {
    if (!(original instanceof CabFile))
      throw invalid('not-the-same-kind', `${this.source.name}: a cabinet, ${original.source.name} is not`);
    await requireSameCabinet(original, this);
  }
}

import { oncePerKey } from '../../../lib/concurrency/once-per-key.ts';
import type { DigestName, KnownDigest } from '../../../lib/asn1/oids.ts';
import type { ByteSource } from '../../../lib/bytes/byte-source.ts';
import { ConcatenatedSource } from '../../../lib/bytes/concatenated-source.ts';
import { PatchedSource } from '../../../lib/bytes/patched-source.ts';
import { invalid, isInvalid } from '../../../lib/errors.ts';
import type { Certificate } from '../../../lib/x509/certificate.ts';
import { dosTime, dosTimeOf, type DosTime } from '../../../lib/zip/edit-entries.ts';
import { MAX32 } from '../../../lib/zip/header-fields.ts';
import type {
  EmbedOptions,
  FileDigest,
  Finding,
  Preparation,
  SignableFile,
  SignedContent,
} from '../signable-file.ts';
import type { BlockMap } from './block-map.ts';
import { requireMatchingBlockMap } from './check-block-map.ts';
import { requireMatchingCatalog } from './check-catalog.ts';
import { requireMatchingManifest } from './check-manifest.ts';
import { buildCatalog } from './code-integrity.ts';
import type { ContentTypes } from './content-types.ts';
import { readDetached, writeDetached } from './detached.ts';
import { packageContent, packageDigests, readPackageContent } from './digests.ts';
import { finishedPackage, tailBeforeSignature, tailOf, unfinishedPackage } from './layout.ts';
import { packageFullName, type Identity } from './manifest.ts';
import type { MsixPackage } from './package.ts';
import { programsIn } from './programs.ts';
import { windowsNameText } from '../../../lib/x509/windows-name.ts';
import { openMsixContainer } from './msix-container.ts';
import { repackage } from './repack.ts';
import type { Container } from '../container.ts';
import type { ArchiveLimits } from '../../../lib/zip/limits.ts';
import { requireSamePackage } from './same-content.ts';
import { signaturePart } from './signature-entry.ts';
import { signatureTime } from './signature-time.ts';

/** The parts of a package that signing reads. */
export interface PackageParts {
  readonly contentTypes: Buffer;
  readonly types: ContentTypes;
  readonly blockMap: Buffer;
  readonly map: BlockMap;
  readonly manifest: Buffer;
  readonly identity: Identity;
  /** AppxMetadata/CodeIntegrity.cat, signed. */
  readonly catalog: Buffer | null;
}

/** The signature that a package carries, and what lies beside it. */
interface CarriedSignature {
  /** PKCS #7 ContentInfo. */
  readonly der: Buffer;
  readonly findings: readonly Finding[];
}

/**
 * An open package or bundle. Its signature is an entry at its end, over digests of all that precedes it; signing also writes
 * the content types again and, if there are programs, adds a catalog of them that the same key has signed.
 */
export class MsixFile implements SignableFile {
  readonly format = 'msix';
  readonly source: ByteSource;
  readonly signatures: readonly Buffer[];
  /** Windows reads one signature; none is nested in a package's. */
  readonly canNest = false;
  readonly unauthenticatedData: readonly Finding[];

  /** Without `carried`, the signature is about to be made: over the parts as signing writes them. */
  constructor(
    readonly pkg: MsixPackage,
    readonly parts: PackageParts,
    private readonly carried: CarriedSignature | null,
  ) {
    this.source = pkg.source;
    this.signatures = carried ? [carried.der] : [];
    this.unauthenticatedData = carried?.findings ?? [];
  }

  /** Offsets and sizes beyond 4 GiB would be written in a form that no package signed by Microsoft's tools shows. */
  requireSignable(): void {
    const { archive, source } = this.pkg;
    if (source.size >= MAX32 || archive.entries.some(({ size }) => size >= MAX32))
      throw invalid('msix-too-large', `${source.name}: a package, or a file in it, of 4 GiB or more`, {
        hint: 'how Windows signs such packages is not known: divide it into several, or sign it there',
      });
  }

  /** Windows refuses a package by another signer than the publisher that the manifest names (0x8007000B). */
  requireSigner(certificate: Certificate, what: string): void {
    const subject = windowsNameText(certificate.subjectDer, what);
    const { publisher } = this.parts.identity;
    if (publisher !== subject)
      throw invalid('msix-publisher-differs', `${what}: its manifest names the publisher ${publisher}`, {
        hint: `the certificate is that of ${subject}: write exactly this as Publisher in the manifest, and pack it again`,
      });
  }

  readonly digest = oncePerKey((hash: KnownDigest) => this.computeDigest(hash));

  private async computeDigest(hash: KnownDigest): Promise<Buffer> {
    const { blockMap, catalog, types, contentTypes } = this.parts;
    if (this.carried && this.pkg.signature) {
      const [body, tail] = await this.coveredBySignature(this.pkg.signature);
      return packageDigests(hash, { body, tail, contentTypes, blockMap, catalog });
    }
    const unfinished = this.unfinished();
    const body = PatchedSource.of(this.source, unfinished.pieces);
    const written = types.signed(catalog !== null);
    return packageDigests(hash, { body, tail: tailOf(unfinished), contentTypes: written, blockMap, catalog });
  }

  private async coveredBySignature(signature: {
    central: Buffer;
    offset: number;
  }): Promise<[ByteSource, Buffer]> {
    const { source } = this;
    const { end } = this.pkg.archive;
    const directory = await source.read(end.directoryOffset, end.directorySize);
    return [
      new ConcatenatedSource([{ source, start: 0, end: signature.offset }], source.name),
      tailBeforeSignature(directory, end, signature, source.name),
    ];
  }

  private unfinished(): ReturnType<typeof unfinishedPackage> {
    const { types, catalog } = this.parts;
    return unfinishedPackage(this.pkg, { contentTypes: types.signed(catalog !== null), catalog });
  }

  /** Checks what Windows checks when it installs the package, and names the programs in a signed catalog. */
  async prepare(preparation: Preparation): Promise<MsixFile> {
    const { source } = this;
    const { hash, time, catalog: run } = preparation;
    const { map, identity } = this.parts;
    if (hash !== map.hash)
      throw invalid(
        'msix-hash-differs',
        `${source.name}: its block map uses ${map.hash}, the signature ${hash}`,
        {
          hint: `sign it with ${map.hash}, or pack it with ${hash}`,
        },
      );
    await this.requireMatchingContent();
    const programs = await programsIn(this.pkg);
    const about = { fullName: packageFullName(identity), time: run?.time ?? time, listId: run?.id };
    const catalog = programs.length > 0 ? await preparation.sign(buildCatalog(programs, about)) : null;
    return this.withCatalog(catalog);
  }

  /** The same package, to be signed together with this catalog. */
  withCatalog(catalog: Buffer | null): MsixFile {
    return new MsixFile(this.pkg, { ...this.parts, catalog }, null);
  }

  private async requireMatchingContent(): Promise<void> {
    requireMatchingManifest(this.pkg, this.parts);
    await requireMatchingBlockMap(this.pkg, this.parts.map);
  }

  contentToSign(hash: DigestName, digest: Buffer): SignedContent {
    return packageContent(this.pkg.kind, hash, digest);
  }

  readContent(content: SignedContent, _signerHash: KnownDigest, what: string): FileDigest {
    return readPackageContent(content, this.pkg.kind, what);
  }

  // eslint-disable-next-line require-await -- a refusal is a rejection, not a throw
  async embed(signature: Buffer, options: EmbedOptions = {}): Promise<PatchedSource> {
    return this.finished(signature, this.timeFor(signature, options));
  }

  private finished(signature: Buffer, time: DosTime): PatchedSource {
    this.requireSignable();
    return finishedPackage(this.source, this.unfinished(), signaturePart(signature), time);
  }

  /** The time in the headers of the signature's entry: that of the signature that is there, or what the new one says. */
  private timeFor(signature: Buffer, { time }: EmbedOptions): DosTime {
    if (time) return dosTime(time);
    if (this.carried?.der.equals(signature) && this.pkg.signature) return dosTimeOf(this.pkg.signature);
    const stated = signatureTime(signature, this.source.name);
    return stated ? dosTime(stated) : dosTimeOf(this.pkg.contentTypes);
  }

  // eslint-disable-next-line require-await -- a refusal is a rejection, not a throw
  async detached(signature: Buffer, options: EmbedOptions = {}): Promise<Buffer> {
    return writeDetached({ signature, at: this.timeFor(signature, options), catalog: this.parts.catalog });
  }

  // eslint-disable-next-line require-await -- a refusal is a rejection, not a throw
  async attach(detached: Buffer): Promise<PatchedSource> {
    const { signature, at, catalog } = readDetached(detached, `${this.source.name}: detached signature`);
    const file = this.withCatalog(catalog);
    return file.finished(signature, at ?? file.timeFor(signature, {}));
  }

  async remove(): Promise<PatchedSource> {
    if (!this.carried)
      throw invalid('msix-not-signed', `${this.source.name}: it carries no signature that could be removed`);
    this.requireSignable();
    return repackage(this.pkg, this.parts.types.unsigned(), new Map());
  }

  /** The signature covers everything, but whether the signer checked anything is not known before. */
  async uncoveredFields(): Promise<Finding[]> {
    const { pkg, parts } = this;
    const checks = [
      () => this.requireMatchingContent(),
      () => requireMatchingCatalog(pkg, parts.catalog, this.signatures[0]),
    ];
    const findings: Finding[] = [];
    for (const check of checks)
      try {
        await check();
      } catch (error) {
        if (!isInvalid(error)) throw error;
        findings.push({ code: error.code, message: error.message });
      }
    return findings;
  }

  // eslint-disable-next-line require-await -- a refusal is a rejection, not a throw
  async container(limits: ArchiveLimits): Promise<Container> {
    return openMsixContainer(this.pkg, this.parts, limits);
  }

  requireSameContent(original: SignableFile): Promise<void> {
    if (original instanceof MsixFile) return requireSamePackage(original, this);
    throw invalid('not-the-same-kind', `${this.source.name}: a package, ${original.source.name} is not`);
  }
}

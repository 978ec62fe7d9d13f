import { oncePerKey } from '../../../lib/concurrency/once-per-key.ts';
import type { DigestName, KnownDigest } from '../../../lib/asn1/oids.ts';
import type { ByteSource } from '../../../lib/bytes/byte-source.ts';
import { whole } from '../../../lib/bytes/concatenated-source.ts';
import { firstDifference, hashRanges } from '../../../lib/bytes/hash-and-compare.ts';
import type { PatchedSource } from '../../../lib/bytes/patched-source.ts';
import { invalid } from '../../../lib/errors.ts';
import type { Certificate } from '../../../lib/x509/certificate.ts';
import { OID } from '../../../lib/asn1/oids.ts';
import { editEntries, usesZip64, type NewEntry } from '../../../lib/zip/edit-entries.ts';
import { DEFAULT_LIMITS, type ArchiveLimits } from '../../../lib/zip/limits.ts';
import type { Container } from '../container.ts';
import { ZipContainer } from '../zip-container.ts';
import type { ArchiveEntry } from '../../../lib/zip/local-headers.ts';
import { readArchive, type Archive } from '../../../lib/zip/read-zip.ts';
import { readWithoutFile } from '../../authenticode/signature-without-file.ts';
import type {
  EmbedOptions,
  FileDigest,
  Finding,
  SignableFile,
  SignatureWithoutFile,
  SignedContent,
} from '../signable-file.ts';
import { entryFor, entryOf, keptEntry, keptOf } from './kept-entry.ts';
import { nugetScheme } from './nuget-scheme.ts';
import { entryFindings, signatureEntry, timeFindings } from './signature-entry.ts';
import { buildContent, readContent } from './signature-content.ts';
import { requireRoom } from './size.ts';

/** The most entries of a zip without zip64, the signature's among them. */
const MAX_ENTRIES = 0xfffe;

/** With what the signer's certificate may be signed: RSA with SHA-2. */
const ISSUED_WITH: ReadonlySet<string> = new Set([OID.sha256WithRsa, OID.sha384WithRsa, OID.sha512WithRsa]);

/** Opens a NuGet package; throws `nuget-…` or `zip-…`. */
export async function openNuGet(source: ByteSource): Promise<NuGetFile> {
  const archive = await readArchive(source, DEFAULT_LIMITS);
  requireNoZip64(archive);
  const entry = signatureEntry(archive);
  return new NuGetFile(archive, entry, entry && (await archive.read(entry)));
}

/** Reads what `detached` returned, without the package. */
export const readDetached = (kept: Buffer, what: string): SignatureWithoutFile[] =>
  readWithoutFile(keptEntry(kept, what)?.content ?? kept, what, {
    scheme: nugetScheme,
    readContent: (content) => readContent(content, what),
  });

/** NuGet refuses to sign and to verify packages in which a size or an offset has 64 bits. */
function requireNoZip64(archive: Archive): void {
  if (!usesZip64(archive)) return;
  throw invalid('nuget-zip64', `${archive.source.name}: a package in the zip64 format`, {
    hint: 'NuGet neither signs nor verifies such packages: pack it again',
  });
}

/** An open NuGet package. Its signature is an entry of the zip, and covers the zip as it is without that entry. */
class NuGetFile implements SignableFile {
  readonly format = 'nuget';
  readonly scheme = nugetScheme;
  readonly source: ByteSource;
  readonly signatures: readonly Buffer[];
  /** A package has one primary signature. */
  readonly canNest = false;
  readonly unauthenticatedData: readonly Finding[];

  constructor(
    private readonly archive: Archive,
    private readonly entry: ArchiveEntry | undefined,
    signature: Buffer | undefined,
  ) {
    this.source = archive.source;
    this.signatures = signature ? [signature] : [];
    this.unauthenticatedData = entry ? entryFindings(entry) : [];
  }

  requireSignable(): void {
    requireRoom(this.source.size, this.source.name);
    if (this.archive.entries.length >= MAX_ENTRIES)
      throw invalid('nuget-too-large', `${this.source.name}: it has ${this.archive.entries.length} entries`);
    const manifests = this.archive.entries.filter(({ path }) => /^[^/]+\.nuspec$/i.test(path));
    if (manifests.length !== 1)
      throw invalid(
        'nuget-manifest',
        `${this.source.name}: ${manifests.length} manifests (.nuspec) at its top level, instead of one`,
      );
  }

  /** NuGet, "Signed packages": a code-signing certificate with an RSA key of 2048 bits or more, signed with RSA itself. */
  requireSigner(certificate: Certificate, what: string): void {
    const { asymmetricKeyType: type, asymmetricKeyDetails: details } = certificate.publicKey;
    if (type !== 'rsa' || (details?.modulusLength ?? 0) < 2048)
      throw invalid(
        'nuget-key',
        `${what}: NuGet accepts only RSA keys of 2048 bits or more, not ${type ?? ''}`,
        {
          hint: 'sign packages with another certificate',
        },
      );
    if (!ISSUED_WITH.has(certificate.signatureAlgorithm))
      throw invalid(
        'nuget-key',
        `${what}: NuGet accepts only certificates that are signed with RSA and SHA-2 (NU3013), not with ${certificate.signatureAlgorithm}`,
        { hint: 'sign packages with a certificate of an authority that has an RSA key' },
      );
    if (certificate.extendedKeyUsage?.includes(OID.lifetimeSigning))
      throw invalid(
        'nuget-key',
        `${what}: NuGet refuses certificates for lifetime signing (${OID.lifetimeSigning})`,
      );
  }

  /** Over the zip as it was before: without the signature's entry, with the numbers and offsets of that time. */
  readonly digest = oncePerKey((hash: KnownDigest) => this.hash(hash));

  private async hash(algorithm: KnownDigest): Promise<Buffer> {
    return (await hashRanges([whole(this.unsigned())], { algorithm })).digest;
  }

  private unsigned(): ByteSource {
    return this.entry ? editEntries(this.archive, [this.entry], []) : this.source;
  }

  contentToSign(hash: DigestName, digest: Buffer): SignedContent {
    return buildContent(hash, digest);
  }

  readContent(content: SignedContent, _signerHash: KnownDigest, what: string): FileDigest {
    return readContent(content, what);
  }

  embed(signature: Buffer, options?: EmbedOptions): Promise<PatchedSource> {
    return this.withEntry(this.newEntry(signature, options));
  }

  private newEntry(signature: Buffer, { time }: EmbedOptions = {}): NewEntry {
    return entryFor(signature, time ?? this.timeOf(signature));
  }

  // eslint-disable-next-line require-await -- a refusal is a rejection, not a throw
  private async withEntry(entry: NewEntry): Promise<PatchedSource> {
    return editEntries(this.archive, this.entry ? [this.entry] : [], [entry]);
  }

  /** The time that a signature claims; every NuGet signature has one. */
  private timeOf(signature: Buffer): Date {
    return nugetScheme.read(signature, `${this.source.name}: signature`).signingTime ?? new Date(0);
  }

  // eslint-disable-next-line require-await -- a refusal is a rejection, not a throw
  async detached(signature: Buffer, options: EmbedOptions = {}): Promise<Buffer> {
    const own = this.entry && !options.time && this.signatures[0]?.equals(signature);
    const entry = own ? entryOf(signature, this.entry) : this.newEntry(signature, options);
    return keptOf(entry, this.timeOf(signature));
  }

  attach(kept: Buffer): Promise<PatchedSource> {
    const entry = keptEntry(kept, this.source.name);
    return entry ? this.withEntry(entry) : this.embed(kept);
  }

  /** All files, also the manifest: none of them is a program by its name. */
  async container(limits: ArchiveLimits): Promise<Container> {
    const unsigned = await readArchive(this.unsigned(), limits);
    return new ZipContainer(unsigned, null);
  }

  // eslint-disable-next-line require-await -- a refusal is a rejection, not a throw
  async remove(): Promise<PatchedSource> {
    if (this.entry) return editEntries(this.archive, [this.entry], []);
    throw invalid('not-signed', `${this.source.name}: it carries no signature that could be removed`);
  }

  uncoveredFields(): Promise<readonly Finding[]> {
    const [signature] = this.signatures;
    if (!this.entry || !signature) return Promise.resolve([]);
    return Promise.resolve(timeFindings(this.entry, this.source, this.timeOf(signature)));
  }

  async requireSameContent(original: SignableFile): Promise<void> {
    const { name } = this.source;
    if (!(original instanceof NuGetFile))
      throw invalid('not-the-same-kind', `${name}: a NuGet package, ${original.source.name} is not`);
    const [before, after] = [original.unsigned(), this.unsigned()];
    const at = await firstDifference([whole(before)], [whole(after)]);
    if (at !== undefined)
      throw invalid(
        'strip-body-differs',
        `${name}: it is not ${original.source.name} plus a signature: byte ${at}${original.placeOf(at)} differs`,
      );
    if (before.size !== after.size)
      throw invalid(
        'strip-length-differs',
        `${name}: without its signature it has ${after.size} bytes, ${original.source.name} ${before.size}`,
      );
  }

  private placeOf(at: number): string {
    const entry = this.archive.entries.find(({ offset, end }) => offset <= at && at < end);
    return entry ? ` (${entry.path})` : '';
  }
}

import { oncePerKey } from '../../../lib/concurrency/once-per-key.ts';
import type { DigestName, KnownDigest } from '../../../lib/asn1/oids.ts';
import { readDer } from '../../../lib/asn1/der.ts';
import { BufferSource, type ByteSource } from '../../../lib/bytes/byte-source.ts';
import type { PatchedSource } from '../../../lib/bytes/patched-source.ts';
import {
  openCompoundFile,
  type CompoundFile,
  type StreamEntry,
} from '../../../lib/compound-file/compound-file.ts';
import { updateCompoundFile } from '../../../lib/compound-file/update.ts';
import { invalid } from '../../../lib/errors.ts';
import type { ArchiveLimits } from '../../../lib/zip/limits.ts';
import { readSignature } from '../../authenticode/signature.ts';
import type { Container } from '../container.ts';
import type {
  EmbedOptions,
  FileDigest,
  Finding,
  Preparation,
  SignableFile,
  SignedContent,
} from '../signable-file.ts';
import { joinDetached, splitDetached } from './detached.ts';
import { msiContent, readMsiContent } from './msi-content.ts';
import { metadataDigest, msiDigest } from './msi-digest.ts';
import { requireSameStreams } from './same-content.ts';
import {
  findSignatureStreams,
  METADATA_NAME,
  SIGNATURE_NAME,
  type SignatureStreams,
} from './signature-streams.ts';
import { fileTime, timeOfSignature } from './signing-time.ts';
import { entryFindings, metadataFindings, uncoveredBytes } from './uncovered-fields.ts';

/** The largest signature, in bytes: those with two chains and a timestamp take 20 KiB. */
const MAX_SIGNATURE = 4 * 1024 * 1024;

/** Opens a package, patch or transform of Windows Installer; throws `cfb-…`, `msi-…` or `der-malformed`. */
export async function openMsi(source: ByteSource): Promise<MsiFile> {
  const file = await openCompoundFile(source);
  const streams = findSignatureStreams(file);
  return new MsiFile(
    file,
    streams,
    streams.signature && (await readSignatureStream(file, streams.signature)),
  );
}

interface SignatureBytes {
  readonly der: Buffer;
  /** Bytes that follow it in its stream. */
  readonly rest: number;
}

async function readSignatureStream(file: CompoundFile, stream: StreamEntry): Promise<SignatureBytes> {
  const { name } = file.source;
  if (stream.size > MAX_SIGNATURE)
    throw invalid('msi-signature-too-large', `${name}: a signature of ${stream.size} bytes`);
  const { der, rest } = readDer(await file.openStream(stream).read(0, stream.size), `${name}: signature`);
  return { der: der.raw, rest: rest.length };
}

/** An open package. Its signature is a stream, beside which signtool stores the metadata digest in another one. */
export class MsiFile implements SignableFile {
  readonly format = 'msi';
  readonly source: ByteSource;
  readonly signatures: readonly Buffer[];
  readonly canNest = true;
  readonly unauthenticatedData: readonly Finding[];

  constructor(
    readonly file: CompoundFile,
    private readonly streams: SignatureStreams,
    private readonly signature: SignatureBytes | undefined,
    /** Whether the signed file has a metadata digest: always, unless another tool signed it without. */
    private readonly withMetadata = !signature || streams.metadata !== undefined,
  ) {
    this.source = file.source;
    this.signatures = signature ? [signature.der] : [];
    const message = `${this.source.name}: ${signature?.rest} bytes follow the signature in its stream`;
    this.unauthenticatedData =
      signature && signature.rest > 0 ? [{ code: 'msi-signature-trailing', message }] : [];
  }

  // Nothing that can be opened must not be signed.
  requireSignable(): void {}

  readonly digest = oncePerKey((hash: KnownDigest) => msiDigest(this.file, hash, this.withMetadata));

  // eslint-disable-next-line require-await -- a refusal is a rejection, not a throw
  async prepare({ hash, appends }: Preparation): Promise<MsiFile> {
    const [first] = this.signatures;
    if (appends && first) {
      this.requireSameDigest(first, hash);
      return this;
    }
    return this.withMetadata ? this : new MsiFile(this.file, this.streams, this.signature, true);
  }

  contentToSign(hash: DigestName, digest: Buffer): SignedContent {
    return msiContent(hash, digest);
  }

  readContent(content: SignedContent, _signerHash: KnownDigest, what: string): FileDigest {
    return readMsiContent(content, what);
  }

  embed(signature: Buffer, { time }: EmbedOptions = {}): Promise<PatchedSource> {
    return this.write(signature, time && fileTime(time));
  }

  // eslint-disable-next-line require-await -- a refusal is a rejection, not a throw
  async detached(signature: Buffer, { time }: EmbedOptions = {}): Promise<Buffer> {
    const derived = this.derivedTime(signature);
    const carried = this.signatures[0]?.equals(signature) ? undefined : derived;
    const modified = time ? fileTime(time) : (carried ?? this.file.root.modified);
    return joinDetached({ signature, modified: derived?.equals(modified) ? undefined : modified });
  }

  async attach(detached: Buffer): Promise<PatchedSource> {
    const what = `${this.source.name}: signature to attach`;
    const { signature, modified } = splitDetached(detached, what);
    const { hash, digest } = readMsiContent(readSignature(signature, what).content, what);
    const withMetadata =
      (await this.digestWith(hash, true)).equals(digest) ||
      !(await this.digestWith(hash, false)).equals(digest);
    return new MsiFile(this.file, this.streams, this.signature, withMetadata).write(signature, modified);
  }

  // eslint-disable-next-line require-await -- a refusal is a rejection, not a throw
  async remove(): Promise<PatchedSource> {
    if (!this.signature)
      throw invalid('msi-not-signed', `${this.source.name}: it carries no signature that could be removed`);
    return updateCompoundFile(this.file, { remove: this.added });
  }

  /** With the root's time as it is and without one; a signer that sets it does not keep the one from before. */
  async unsignedForms(size: number): Promise<PatchedSource[]> {
    const forms = await Promise.all(
      [undefined, Buffer.alloc(8)].map((modified) =>
        updateCompoundFile(this.file, { remove: this.added, modified }),
      ),
    );
    return forms.filter((form) => form.size === size);
  }

  async uncoveredFields(): Promise<Finding[]> {
    return [
      ...(await this.metadataFindings()),
      ...entryFindings(this.file, this.streams),
      ...(await uncoveredBytes(this.file)),
    ];
  }

  async container(limits: ArchiveLimits): Promise<Container | null> {
    const { openMsiContainer } = await import('./msi-container.ts');
    return openMsiContainer(this.file, this.added, limits);
  }

  async requireSameContent(original: SignableFile): Promise<void> {
    if (!(original instanceof MsiFile))
      throw invalid('not-the-same-kind', `${this.source.name}: a package, ${original.source.name} is not`);
    await requireSameStreams(original.file, this.file);
    const [finding] = [...(await this.metadataFindings()), ...entryFindings(this.file, this.streams)];
    if (finding) throw invalid('strip-unused-differs', finding.message);
  }

  /** The streams that signing added, in its order. */
  private get added(): StreamEntry[] {
    const { metadata, signature } = this.streams;
    return [metadata, signature].filter((stream) => stream !== undefined);
  }

  private digestWith(hash: KnownDigest, withMetadata: boolean): Promise<Buffer> {
    return withMetadata === this.withMetadata ? this.digest(hash) : msiDigest(this.file, hash, withMetadata);
  }

  private write(signature: Buffer, modified = this.derivedTime(signature)): Promise<PatchedSource> {
    const { name } = this.source;
    const { hash } = readMsiContent(readSignature(signature, name).content, `${name}: signature`);
    const stream = (content: Buffer): ByteSource => new BufferSource(content, name);
    const metadata = this.withMetadata
      ? [{ name: METADATA_NAME, content: stream(metadataDigest(this.file, hash)) }]
      : [];
    const write = [...metadata, { name: SIGNATURE_NAME, content: stream(signature) }];
    return updateCompoundFile(this.file, { remove: this.added, write, modified });
  }

  /** The root's time as the signature gives it. */
  private derivedTime(signature: Buffer): Buffer | undefined {
    const time = timeOfSignature(signature, `${this.source.name}: signature`);
    return time && fileTime(time);
  }

  // eslint-disable-next-line require-await -- a refusal is a rejection, not a throw
  private async metadataFindings(): Promise<Finding[]> {
    if (!this.signature) return [];
    const what = `${this.source.name}: signature`;
    const { hash } = readMsiContent(readSignature(this.signature.der, what).content, what);
    return metadataFindings(this.file, this.streams, hash);
  }

  /** The stream with the metadata digest has room for one; which other signatures go with it, no Windows-made file shows. */
  private requireSameDigest(first: Buffer, hash: DigestName): void {
    const what = `${this.source.name}: signature`;
    const stated = readMsiContent(readSignature(first, what).content, what).hash;
    if (this.withMetadata && stated !== hash)
      throw invalid(
        'msi-append-digest',
        `${this.source.name}: its signature uses ${stated}, and one with ${hash} cannot be appended to it`,
        { hint: `set signing.digest to ${stated}, or replace the signature` },
      );
  }
}

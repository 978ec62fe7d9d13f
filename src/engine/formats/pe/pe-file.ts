import { oncePerKey } from '../../../lib/concurrency/once-per-key.ts';
import { invalid } from '../../../lib/errors.ts';
import type { ByteRange } from '../../../lib/bytes/byte-range.ts';
import { PatchedSource } from '../../../lib/bytes/patched-source.ts';
import { hashRanges, type Hashed } from '../../../lib/bytes/hash-and-compare.ts';
import type { ByteSource } from '../../../lib/bytes/byte-source.ts';
import type { Checksum16 } from '../../../lib/bytes/checksum16.ts';
import type { DigestName, KnownDigest } from '../../../lib/asn1/oids.ts';
import {
  buildCertificateTable,
  MAX_TABLE,
  padding,
  readCertificateTable,
  splitSignatures,
  type CertificateTable,
} from './certificate-table.ts';
import type {
  ContentOptions,
  FileDigest,
  FileFormat,
  Finding,
  SignableFile,
  SignedContent,
} from '../signable-file.ts';
import { readWithoutFile } from '../../authenticode/signature-without-file.ts';
import type { Container } from '../container.ts';
import { readBurnBundle, requireSignableBundle, type BurnBundle, type BurnParts } from './burn-bundle.ts';
import { buildIndirectData } from '../../authenticode/indirect-data.ts';
import { peImageData, readPeContent } from './image-data.ts';
import { peChecksum, type Checksum } from './checksum.ts';
import { hashPages } from './page-hashes.ts';
import { verifyPageHashes } from './verify-page-hashes.ts';
import { looksLikePe, readLayout, type PeLayout } from './pe-layout.ts';
import { requireSameBody } from './same-content.ts';

/** The largest offset and size: both have 32 bits in a PE file. */
const MAX_SIZE = 0xffffffff;
/** Room for any signature, in bytes: those with two chains and a timestamp take 20 KiB. */
const ROOM = 64 * 1024;

/** Certificate tables begin at a multiple of this, in bytes. */
const ALIGNMENT = 8;

/** Throws `pe-too-large` if a program of this size leaves no room for a signature. */
function requireRoom(size: number, name: string): void {
  if (size + ROOM > MAX_SIZE)
    throw invalid('pe-too-large', `${name}: signed, it would be larger than 4 GiB`, {
      hint: 'the fields of a PE file cannot express more: make it smaller, or exclude it',
    });
}

/** Opens a PE file (.exe, .dll, .sys, .efi, …); throws `not-signable` or `pe-…`. */
export async function openPe(source: ByteSource): Promise<PeFile> {
  const layout = await readLayout(source);
  const table = await readTable(source, layout);
  return new PeFile(source, layout, table, await readBurnBundle(source, layout));
}

async function readTable(
  source: ByteSource,
  { table: span, efi }: PeLayout,
): Promise<CertificateTable | null> {
  if (!span) return null;
  const size = span.end - span.start;
  requireReadable(size, source.name);
  return readCertificateTable(await source.read(span.start, size), source.name, efi);
}

/** Throws `pe-table-too-large` for a certificate table that is not read, and so is not written either. */
function requireReadable(size: number, name: string): void {
  if (size > MAX_TABLE)
    throw invalid(
      'pe-table-too-large',
      `${name}: a certificate table of ${size} bytes; ${MAX_TABLE} allowed`,
      {
        hint: 'page hashes take most of it in a large program: sign it once with them, or without (signing.pageHashes)',
      },
    );
}

/** The entry of the certificate table in the data directories. */
function directoryEntry(start: number, size: number): Buffer {
  const entry = Buffer.alloc(8);
  entry.writeUInt32LE(start, 0);
  entry.writeUInt32LE(size, 4);
  return entry;
}

/** An open PE file. Windows reads one signature, firmware all those of an EFI program. */
export class PeFile implements SignableFile {
  readonly format = pe.name;
  readonly signatures: readonly Buffer[];
  readonly canNest: boolean;
  /** Firmware does not look for signatures that are nested in another one. */
  readonly appendsBeside: boolean;
  readonly unauthenticatedData: readonly Finding[];
  /** The end of the signed bytes: the offset of the certificate table, or the size of the file. */
  readonly bodyEnd: number;
  /** What the digest covers: all before `bodyEnd` except CheckSum and the certificate directory entry. */
  readonly covered: readonly [ByteRange, ByteRange, ByteRange];
  /** Only of a Burn bundle with containers: the others are spared a look for files inside. */
  readonly container?: () => Promise<Container>;
  private readonly entryEnds: readonly number[];
  /** Sum of `covered`, a by-product of the first digest. */
  private sum: Promise<Checksum16> | undefined;

  constructor(
    readonly source: ByteSource,
    readonly layout: PeLayout,
    table: CertificateTable | null,
    private readonly bundle: BurnBundle | null,
  ) {
    this.signatures = table?.signatures ?? [];
    this.unauthenticatedData = table?.findings ?? [];
    this.entryEnds = table?.entryEnds ?? [];
    this.appendsBeside = layout.efi;
    this.canNest = this.unauthenticatedData.every(({ code }) => code !== 'table-several-entries');
    if (bundle?.fault === null && bundle.attached.start < bundle.attached.end)
      this.container = () => this.openBundle(bundle);
    const { checksumAt, directoryAt, bodyEnd } = layout;
    this.bodyEnd = bodyEnd;
    this.covered = [
      { start: 0, end: checksumAt },
      { start: checksumAt + 4, end: directoryAt },
      { start: directoryAt + 8, end: bodyEnd },
    ];
  }

  /**
   * Microsoft, "Windows Authenticode Portable Executable Signature Format", "Calculating the PE Image Hash": all bytes
   * except CheckSum, the certificate directory entry and the certificate table, in the file's order with the overlay,
   * padded with zeros as the signed file will be.
   */
  readonly digest = oncePerKey((hash: KnownDigest) => this.readBody(hash).then((body) => body.digest));

  private async openBundle(parts: BurnParts): Promise<Container> {
    const { BurnContainer } = await import('./burn-container.ts');
    return new BurnContainer(this, parts, openPe);
  }

  requireSignable(): void {
    requireRoom(this.bodyEnd, this.source.name);
    if (this.bundle) requireSignableBundle(this.bundle, this.source.name);
  }

  async contentToSign(
    hash: DigestName,
    digest: Buffer,
    { pageHashes = false }: ContentOptions = {},
  ): Promise<SignedContent> {
    const table = pageHashes ? await hashPages(this) : null;
    return buildIndirectData({ ...peImageData(table), hash, digest });
  }

  readContent(content: SignedContent, _signerHash: KnownDigest, what: string): FileDigest {
    return readPeContent(content, what);
  }

  /** Checks the page hashes that some signatures state beside the digest; throws `page-hashes-NAME`. */
  async requireStated(content: SignedContent, what: string): Promise<string | null> {
    const { pageHashes } = readPeContent(content, what);
    for (const table of pageHashes) await verifyPageHashes(this, table, what);
    return pageHashes.length === 0 ? null : `page hashes (${pageHashes.map(({ hash }) => hash).join(', ')})`;
  }

  requireSameContent(original: SignableFile): Promise<void> {
    if (original instanceof PeFile) return requireSameBody(original, this);
    throw invalid('not-the-same-kind', `${this.source.name}: a PE file, ${original.source.name} is not`);
  }

  /** Finds a CheckSum that no state of the file explains, which could hold a message; 0 means never computed. */
  async uncoveredFields(): Promise<Finding[]> {
    const { stored, computed, earlier } = await this.checksum();
    if (stored === 0 || stored === computed || earlier.includes(stored)) return [];
    const message = `${this.source.name}: its CheckSum field, which no signature covers, holds 0x${stored.toString(16)}, and its checksum is 0x${computed.toString(16)}`;
    return [{ code: 'checksum-differs', message }];
  }

  /** `signature` is one, or for an EFI program several, one after another. */
  async embed(signature: Buffer): Promise<PatchedSource> {
    const pad = padding(this.bodyEnd);
    const start = this.bodyEnd + pad.length;
    const all = this.layout.efi ? splitSignatures(signature, `${this.source.name}: signature`) : [signature];
    const table = buildCertificateTable(all);
    requireReadable(table.length, this.source.name);
    if (start + table.length > MAX_SIZE)
      throw invalid('pe-too-large', `${this.source.name}: signed, it would be larger than 4 GiB`);
    return this.rebuild(directoryEntry(start, table.length), Buffer.concat([pad, table]));
  }

  /** The signatures of all entries, one after another. */
  detached(signature: Buffer): Promise<Buffer> {
    const [first] = this.signatures;
    return Promise.resolve(signature === first ? Buffer.concat(this.signatures) : signature);
  }

  attach(detached: Buffer): Promise<PatchedSource> {
    return this.embed(detached);
  }

  async remove(): Promise<PatchedSource> {
    if (this.signatures.length === 0)
      throw invalid('pe-not-signed', `${this.source.name}: it carries no signature that could be removed`);
    return this.rebuild(Buffer.alloc(8), Buffer.alloc(0));
  }

  /** With CheckSum as it should be, and with 0, which is how most linkers leave it. */
  async unsignedForms(size: number): Promise<PatchedSource[]> {
    const [start, middle, rest] = this.covered;
    const added = this.bodyEnd - size;
    if (added < 0 || added >= ALIGNMENT || size < rest.start) return [];
    const checksum = Buffer.alloc(4);
    checksum.writeUInt32LE(peChecksum(await this.bodySum(), size), 0);
    const body = { start: rest.start, end: rest.end - added };
    return [checksum, Buffer.alloc(4)].map((field) =>
      PatchedSource.of(this.source, [start, field, middle, Buffer.alloc(8), body]),
    );
  }

  async checksum(): Promise<Checksum> {
    const { checksumAt, directoryAt } = this.layout;
    const stored = (await this.source.read(checksumAt, 4)).readUInt32LE(0);
    const entry = await this.source.read(directoryAt, 8);
    const table = await this.source.read(this.bodyEnd, this.source.size - this.bodyEnd);
    const body = await this.bodySum();
    const sum = body.clone().add(table).add(entry);
    const unsigned = [0, 1, 2, 3, 4, 5, 6, 7].map((pad) => peChecksum(body, this.bodyEnd - pad));
    const partly = this.entryEnds.slice(0, -1).map((end) => this.checksumWith(body, table.subarray(0, end)));
    return { stored, computed: peChecksum(sum, this.source.size), earlier: [...unsigned, ...partly] };
  }

  /** The checksum of the file with this certificate table. */
  private checksumWith(body: Checksum16, table: Buffer): number {
    const sum = body.clone().add(table).add(directoryEntry(this.bodyEnd, table.length));
    return peChecksum(sum, this.bodyEnd + table.length);
  }

  /** Replaces the certificate directory entry, and what follows the body; the checksum is computed from sums. */
  private async rebuild(entry: Buffer, tail: Buffer): Promise<PatchedSource> {
    const sum = (await this.bodySum()).clone().add(tail).add(entry);
    const checksum = Buffer.alloc(4);
    checksum.writeUInt32LE(peChecksum(sum, this.bodyEnd + tail.length), 0);
    const [start, middle, rest] = this.covered;
    return PatchedSource.of(this.source, [start, checksum, middle, entry, rest, tail]);
  }

  private bodySum(): Promise<Checksum16> {
    return this.sum ?? this.readBody().then(({ checksum16 }) => checksum16);
  }

  /** Reads the body once, in order, without the rewritten fields; keeps its sum for later calls. */
  private readBody(algorithm?: KnownDigest): Promise<Hashed> {
    const parts = this.covered.map((range) => ({ source: this.source, ...range }));
    const zeros = padding(this.bodyEnd).length;
    const reading = hashRanges(parts, { ...(algorithm && { algorithm }), checksum16: !this.sum, zeros });
    this.sum ??= reading.then(({ checksum16 }) => checksum16);
    this.sum.catch(() => {}); // The reading itself reports the error.
    return reading;
  }
}

export const pe: FileFormat = {
  name: 'pe',
  description: 'PE files: .exe, .dll, .sys, .efi and the like, which begin with MZ and hold a PE header',
  extensions: ['exe', 'dll', 'sys', 'ocx', 'cpl', 'scr', 'drv', 'efi', 'mui', 'com', 'winmd'],
  looksLike: looksLikePe,
  requireSize: requireRoom,
  open: openPe,
  readDetached: (detached, what) => {
    const readContent = (content: SignedContent): FileDigest => readPeContent(content, what);
    const signatures = splitSignatures(detached, what);
    return Promise.resolve(signatures.flatMap((each) => readWithoutFile(each, what, { readContent })));
  },
};

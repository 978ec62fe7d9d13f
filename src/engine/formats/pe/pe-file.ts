import { invalid } from '../../../lib/errors.ts';
import type { ByteRange } from '../../../lib/bytes/byte-range.ts';
import { PatchedSource } from '../../../lib/bytes/patched-source.ts';
import { hashParts, type Hashed } from '../../../lib/bytes/hash-and-compare.ts';
import type { SourceRange } from '../../../lib/bytes/concatenated-source.ts';
import type { ByteSource } from '../../../lib/bytes/byte-source.ts';
import type { WordSum } from '../../../lib/bytes/checksum16.ts';
import type { DigestName, KnownDigest } from '../../../lib/asn1/oids.ts';
import {
  buildCertificateTable,
  MAX_TABLE,
  padding,
  readCertificateTable,
  type CertificateTable,
} from './certificate-table.ts';
import type { Checksum, SignableImage, Untidiness } from '../signable-file.ts';
import { buildIndirectData, peImageData } from '../../authenticode/indirect-data.ts';
import { locate, readLayout, type PeLayout } from './pe-layout.ts';

/** Offsets and sizes in a PE file have 32 bits. */
const MAX_SIZE = 0xffffffff;
/** Room for any signature, in bytes: those with two chains and a timestamp take 20 KiB. */
const ROOM = 64 * 1024;

/** Throws `pe-too-large` if a program of this size has no room for a signature. */
export function requireRoom(size: number, name: string): void {
  if (size + ROOM > MAX_SIZE)
    throw invalid('pe-too-large', `${name}: signed, it would be larger than 4 GiB`, {
      hint: 'the fields of a PE file cannot express more: make it smaller, or exclude it',
    });
}

export { looksLikePe } from './pe-layout.ts';

/** Opens a PE file (.exe, .dll, .sys, .efi, …); throws `not-signable` or `pe-…`. */
export async function openPe(source: ByteSource): Promise<PeImage> {
  const layout = await readLayout(source);
  return new PeImage(source, layout, await readTable(source, layout));
}

async function readTable(
  source: ByteSource,
  { table: span, efi }: PeLayout,
): Promise<CertificateTable | null> {
  if (!span) return null;
  const size = span.end - span.start;
  if (size > MAX_TABLE)
    throw invalid('pe-table-too-large', `${source.name}: a certificate table of ${size} bytes`);
  return readCertificateTable(await source.read(span.start, size), source.name, efi);
}

/** A PE image; see SignableImage for what each member promises. */
export class PeImage implements SignableImage {
  readonly format = 'pe';
  readonly signature: Buffer | null;
  readonly signatures: readonly Buffer[];
  readonly tableSlack: readonly Untidiness[];
  readonly bodyEnd: number;
  readonly rewritten: readonly ByteRange[];
  /** Sum of everything before `bodyEnd` but `rewritten`, a by-product of the first digest. */
  private sum: Promise<WordSum> | undefined;
  private readonly digests = new Map<KnownDigest, Promise<Buffer>>();

  constructor(
    readonly source: ByteSource,
    readonly layout: PeLayout,
    table: CertificateTable | null,
  ) {
    this.signatures = table?.signatures ?? [];
    this.signature = this.signatures[0] ?? null;
    this.tableSlack = table?.slack ?? [];
    this.bodyEnd = layout.bodyEnd;
    this.rewritten = [
      { start: layout.checksumAt, end: layout.checksumAt + 4 },
      { start: layout.directoryAt, end: layout.directoryAt + 8 },
    ];
  }

  digest(hash: KnownDigest): Promise<Buffer> {
    const digest = this.digests.get(hash) ?? this.makeDigest(hash);
    this.digests.set(hash, digest);
    return digest;
  }

  /**
   * Microsoft, "Windows Authenticode Portable Executable Signature Format", "Calculating the PE
   * Image Hash": all but CheckSum, the certificate directory entry and the certificate table, in
   * the file's order, overlay included, padded with zeros as the signed file will be.
   */
  private async makeDigest(hash: KnownDigest): Promise<Buffer> {
    return (await this.readBody(hash)).digest;
  }

  requireSignable(): void {
    requireRoom(this.bodyEnd, this.source.name);
    if (this.layout.sections.some(({ name }) => name === '.wixburn'))
      throw invalid(
        'burn-bundle',
        `${this.source.name}: an installer made by WiX Burn, whose engine has to be detached and signed first`,
        {
          hint: 'sign it with the tools of WiX, and exclude it here with a pattern that begins with "!"',
        },
      );
  }

  indirectData(hash: DigestName, digest: Buffer): Buffer {
    return buildIndirectData({ ...peImageData, hash, digest });
  }

  async embed(signature: Buffer): Promise<PatchedSource> {
    const pad = padding(this.bodyEnd);
    const start = this.bodyEnd + pad.length;
    const table = buildCertificateTable(signature);
    if (start + table.length > MAX_SIZE)
      throw invalid('pe-too-large', `${this.source.name}: signed, it would be larger than 4 GiB`);
    const entry = Buffer.alloc(8);
    entry.writeUInt32LE(start, 0);
    entry.writeUInt32LE(table.length, 4);
    return this.rebuild(entry, Buffer.concat([pad, table]));
  }

  async remove(): Promise<PatchedSource> {
    if (!this.signature)
      throw invalid('pe-not-signed', `${this.source.name}: it carries no signature that could be removed`);
    return this.rebuild(Buffer.alloc(8), Buffer.alloc(0));
  }

  async checksum(): Promise<Checksum> {
    const { checksumAt, directoryAt } = this.layout;
    const stored = (await this.source.read(checksumAt, 4)).readUInt32LE(0);
    const entry = await this.source.read(directoryAt, 8);
    const table = await this.source.read(this.bodyEnd, this.source.size - this.bodyEnd);
    const body = await this.bodySum();
    const sum = body.clone().add(table).add(entry);
    const unsigned = [0, 1, 2, 3, 4, 5, 6, 7].map((pad) => body.checksum(this.bodyEnd - pad));
    return { stored, computed: sum.checksum(this.source.size), unsigned };
  }

  locate(offset: number): string {
    return locate(this.layout, offset);
  }

  /** The file with this certificate directory entry and this after its body; the checksum from sums, not from reading. */
  private async rebuild(entry: Buffer, tail: Buffer): Promise<PatchedSource> {
    const { checksumAt, directoryAt } = this.layout;
    const sum = (await this.bodySum()).clone().add(tail).add(entry);
    const checksum = Buffer.alloc(4);
    checksum.writeUInt32LE(sum.checksum(this.bodyEnd + tail.length), 0);
    return PatchedSource.of(this.source, [
      { start: 0, end: checksumAt },
      checksum,
      { start: checksumAt + 4, end: directoryAt },
      entry,
      { start: directoryAt + 8, end: this.bodyEnd },
      tail,
    ]);
  }

  private bodySum(): Promise<WordSum> {
    return this.sum ?? this.readBody().then(({ sum }) => sum);
  }

  /** Reads the body once, in order, without the rewritten fields; keeps its sum for who asks next. */
  private readBody(algorithm?: KnownDigest): Promise<Hashed> {
    const zeros = padding(this.bodyEnd).length;
    const reading = hashParts(this.bodyParts(), {
      ...(algorithm && { algorithm }),
      summed: !this.sum,
      zeros,
    });
    this.sum ??= reading.then(({ sum }) => sum);
    this.sum.catch(() => {}); // whoever reads is told
    return reading;
  }

  private bodyParts(): SourceRange[] {
    const { checksumAt, directoryAt } = this.layout;
    return [
      { source: this.source, start: 0, end: checksumAt },
      { source: this.source, start: checksumAt + 4, end: directoryAt },
      { source: this.source, start: directoryAt + 8, end: this.bodyEnd },
    ];
  }
}

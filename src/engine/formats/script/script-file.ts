import { createHash } from 'node:crypto';
import type { DigestName, KnownDigest } from '../../../lib/asn1/oids.ts';
import { readAll, type ByteSource } from '../../../lib/bytes/byte-source.ts';
import type { ByteRange } from '../../../lib/bytes/byte-range.ts';
import type { SourceRange } from '../../../lib/bytes/concatenated-source.ts';
import { firstDifference } from '../../../lib/bytes/hash-and-compare.ts';
import { PatchedSource } from '../../../lib/bytes/patched-source.ts';
import { invalid, type SignpipeError } from '../../../lib/errors.ts';
import {
  buildIndirectData,
  readIndirectData,
  requireDigestLength,
} from '../../authenticode/indirect-data.ts';
import { requireSip, sipData, type SipInfo } from '../../authenticode/sip-info.ts';
import type { FileDigest, SignableFile, SignedContent } from '../signable-file.ts';
import type { BlockStyle } from './block-style.ts';
import { requireScriptSize } from './script-size.ts';
import { encodeAscii, hashAsUtf16, readScriptText, type ScriptText } from './script-text.ts';
import { findBlock, formatBlock } from './signature-block.ts';

/** A kind of script: what its signature block looks like, and what Windows hashes. */
export interface ScriptKind {
  /** The format's name. */
  readonly format: string;
  readonly style: BlockStyle;
  readonly sip: SipInfo;
  /** Whether FF FE is hashed before the text of a file with a byte order mark, as PowerShell does. */
  readonly hashesBom: boolean;
  /** Whether the position of the block is hashed after the text, as Windows Script Host does. */
  readonly hashesPosition: boolean;
  /**
   * Where the block belongs in a text without one, in units; throws if there is no such place.
   */
  blockPosition(text: string, name: string): number;
  /** Why text in this form cannot be signed, although it can be read; null if it can. */
  refusal?(text: ScriptText, name: string): SignpipeError | null;
}

const BOM_UTF16LE = Buffer.from([0xff, 0xfe]);

/** Opens a script of a kind; throws `script-too-large` and what `findBlock` throws. */
export async function openScript(source: ByteSource, kind: ScriptKind): Promise<ScriptFile> {
  requireScriptSize(source.size, source.name);
  const text = readScriptText(await readAll(source, source.size), source.name);
  return new ScriptFile(source, kind, text);
}

/** An open script. It is held in memory, since all of it has to be decoded. */
export class ScriptFile implements SignableFile {
  readonly format: string;
  readonly signatures: readonly Buffer[];
  /** Only as long as there is none: whether Windows reads signatures nested in that of a script is not known. */
  readonly canNest: boolean;
  /** None: every byte of a block is compared with what would be written. */
  readonly unauthenticatedData = [];
  /** The file without the block, in two parts: what precedes it and what follows. */
  private readonly parts: readonly [ByteRange, ByteRange];
  private readonly fault: SignpipeError | null;
  /** Without the text, which takes as much memory again and is not needed any more. */
  private readonly script: Omit<ScriptText, 'text' | 'fault'>;

  constructor(
    readonly source: ByteSource,
    private readonly kind: ScriptKind,
    script: ScriptText,
  ) {
    this.format = kind.format;
    const { text, fault: textFault, ...rest } = script;
    this.script = rest;
    const { block, fault } = findBlock(text, kind.style, source.name);
    this.signatures = block ? [block.der] : [];
    this.canNest = block === null;
    const place = this.place(block ? text.slice(0, block.start) + text.slice(block.end) : text);
    this.fault = kind.refusal?.(script, source.name) ?? textFault ?? fault ?? place.fault;
    const start = block?.start ?? place.at;
    const end = block?.end ?? place.at;
    this.parts = [
      { start: 0, end: this.offsetOf(start) },
      { start: this.offsetOf(end), end: source.size },
    ];
  }

  requireSignable(): void {
    if (this.fault) throw this.fault;
  }

  /**
   * Windows' subject interface packages for scripts hash the text in UTF-16LE, without the block, line ends as they are.
   * Throws the reason if the text cannot be decoded without doubt.
   */
  // eslint-disable-next-line require-await -- a refusal is a rejection, not a throw
  async digest(hash: KnownDigest): Promise<Buffer> {
    this.requireSignable();
    const { bom, bytes, encoding } = this.script;
    const { hashesBom, hashesPosition } = this.kind;
    const [before, after] = this.parts;
    const hashing = createHash(hash);
    if (hashesBom && bom > 0) hashing.update(BOM_UTF16LE);
    const position = Buffer.alloc(4);
    position.writeUInt32LE(hashAsUtf16(hashing, bytes.subarray(bom, before.end), encoding));
    hashAsUtf16(hashing, bytes.subarray(after.start, after.end), encoding);
    return (hashesPosition ? hashing.update(position) : hashing).digest();
  }

  contentToSign(hash: DigestName, digest: Buffer): SignedContent {
    return buildIndirectData({ ...sipData(this.kind.sip), hash, digest });
  }

  readContent(content: SignedContent, _signerHash: KnownDigest, what: string): FileDigest {
    const indirect = readIndirectData(content, what);
    requireDigestLength(indirect, what);
    requireSip(indirect, this.kind.sip, what);
    return indirect;
  }

  // eslint-disable-next-line require-await -- a refusal is a rejection, not a throw
  async embed(signature: Buffer): Promise<PatchedSource> {
    this.requireSignable();
    const block = encodeAscii(formatBlock(signature, this.kind.style), this.script.encoding);
    const [before, after] = this.parts;
    return PatchedSource.of(this.source, [before, block, after]);
  }

  // eslint-disable-next-line require-await -- a refusal is a rejection, not a throw
  async remove(): Promise<PatchedSource> {
    if (this.signatures.length === 0)
      throw invalid(
        'script-not-signed',
        `${this.source.name}: it carries no signature that could be removed`,
      );
    return PatchedSource.of(this.source, this.parts);
  }

  /** Throws `strip-length-differs`, or `strip-body-differs` at the first byte that differs. */
  async requireSameContent(original: SignableFile): Promise<void> {
    if (!(original instanceof ScriptFile) || original.kind !== this.kind)
      throw invalid(
        'not-the-same-kind',
        `${this.source.name} and ${original.source.name} are files of different kinds`,
      );
    const what = `${this.source.name}: it is not ${original.source.name} plus a signature`;
    const [size, originalSize] = [this.unsignedSize(), original.unsignedSize()];
    if (size !== originalSize)
      throw invalid(
        'strip-length-differs',
        `${what}: without signatures they have ${size} and ${originalSize} bytes`,
      );
    const position = await firstDifference(original.unsigned(), this.unsigned());
    if (position !== undefined)
      throw invalid('strip-body-differs', `${what}: the scripts differ at byte ${position}`);
  }

  private unsigned(): SourceRange[] {
    return this.parts.map((range) => ({ source: this.source, ...range }));
  }

  private unsignedSize(): number {
    return this.parts.reduce((size, { start, end }) => size + end - start, 0);
  }

  private offsetOf(unit: number): number {
    return this.script.bom + unit * this.script.unit;
  }

  private place(text: string): { readonly at: number; readonly fault: SignpipeError | null } {
    try {
      return { at: this.kind.blockPosition(text, this.source.name), fault: null };
    } catch (error) {
      return { at: 0, fault: error as SignpipeError };
    }
  }
}

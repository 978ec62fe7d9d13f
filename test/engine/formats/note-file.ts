/**
 * A format of the tests' own, which the engine does not know: a note has an author in its first line, a field that
 * signing rewrites in its second, text, and at its end perhaps a signature, its length and a mark.
 *
 * It differs from PE wherever formats may: what it signs is not SpcIndirectDataContent but two digests, one after
 * another, that name no algorithm; and only the author can sign it.
 */
import { createHash } from 'node:crypto';
import { octets } from '../../../src/lib/asn1/encode-der.ts';
import { parseDer, readOctets } from '../../../src/lib/asn1/der.ts';
import type { DigestName, KnownDigest } from '../../../src/lib/asn1/oids.ts';
import type { ByteSource } from '../../../src/lib/bytes/byte-source.ts';
import { PatchedSource } from '../../../src/lib/bytes/patched-source.ts';
import { invalid } from '../../../src/lib/errors.ts';
import type { Certificate } from '../../../src/lib/x509/certificate.ts';
import type {
  FileDigest,
  FileFormat,
  Finding,
  SignableFile,
  SignedContent,
} from '../../../src/engine/formats/signable-file.ts';

const CONTENT_TYPE = '2.25.1234';
const MARK = Buffer.from('SIGNED.\n');
const FIELD = /^author (.*)\nstate ([^\n]{8})\n/;

/** The bytes of an unsigned note. */
export const noteBy = (author: string, text: string): Buffer =>
  Buffer.from(`author ${author}\nstate unsigned\n${text}`);

class NoteFile implements SignableFile {
  readonly format = 'note';
  readonly signatures: readonly Buffer[];
  readonly canNest = true;
  readonly unauthenticatedData: readonly Finding[];
  private readonly author: string;
  private readonly state: string;
  private readonly field: { readonly start: number; readonly end: number };
  private readonly text: Buffer;

  constructor(
    readonly source: ByteSource,
    bytes: Buffer,
  ) {
    const head = FIELD.exec(bytes.toString('latin1')) ?? [];
    const [first = '', author = '', state = ''] = head;
    this.author = author;
    this.state = state;
    this.field = { start: first.length - 9, end: first.length - 1 };
    const marked = bytes.subarray(-8).equals(MARK);
    const end = marked ? bytes.length - 12 - bytes.readUInt32LE(bytes.length - 12) : bytes.length;
    this.text = bytes.subarray(first.length, end);
    const { der, rest } = split(bytes.subarray(end, marked ? -12 : end));
    this.signatures = der ? [der] : [];
    this.unauthenticatedData =
      rest > 0 ? [{ code: 'note-trailing-bytes', message: `${rest} bytes follow the signature` }] : [];
  }

  requireSignable(): void {
    if (this.text.length === 0) throw invalid('note-empty', `${this.source.name}: it has no text`);
  }

  requireSigner({ subject }: Certificate, what: string): void {
    if (subject !== this.author)
      throw invalid('note-author-differs', `${what}: by ${subject}, the author is ${this.author}`);
  }

  digest(hash: KnownDigest): Promise<Buffer> {
    const parts = [Buffer.from(this.author), this.text];
    return Promise.resolve(Buffer.concat(parts.map((part) => createHash(hash).update(part).digest())));
  }

  contentToSign(_hash: DigestName, digest: Buffer): SignedContent {
    return { type: CONTENT_TYPE, der: octets(digest) };
  }

  readContent({ type, der }: SignedContent, hash: KnownDigest, what: string): FileDigest {
    if (type !== CONTENT_TYPE) throw invalid('authenticode-content', `${what}: not the content of a note`);
    return { hash, digest: readOctets(parseDer(der, what), what) };
  }

  embed(signature: Buffer): Promise<PatchedSource> {
    const trailer = Buffer.alloc(4);
    trailer.writeUInt32LE(signature.length);
    return Promise.resolve(this.rebuilt('signed  ', Buffer.concat([signature, trailer, MARK])));
  }

  remove(): Promise<PatchedSource> {
    return Promise.resolve(this.rebuilt('unsigned', Buffer.alloc(0)));
  }

  uncoveredFields(): Promise<Finding[]> {
    if (this.state === 'signed  ') return Promise.resolve([]);
    return Promise.resolve([{ code: 'note-state', message: `its state is ${this.state}` }]);
  }

  requireSameContent(original: SignableFile): Promise<void> {
    if (original instanceof NoteFile && original.author === this.author && original.text.equals(this.text))
      return Promise.resolve();
    return Promise.reject(invalid('strip-body-differs', `${this.source.name}: another author or text`));
  }

  private rebuilt(state: string, trailer: Buffer): PatchedSource {
    const { start, end } = this.field;
    return PatchedSource.of(this.source, [
      { start: 0, end: start },
      Buffer.from(state),
      { start: end, end: end + 1 + this.text.length },
      trailer,
    ]);
  }
}

/** The signature at the beginning of what precedes the length, and the count of the bytes behind it. */
function split(bytes: Buffer): { der: Buffer | null; rest: number } {
  if (bytes.length === 0) return { der: null, rest: 0 };
  const length = 4 + bytes.readUInt16BE(2);
  return { der: bytes.subarray(0, length), rest: bytes.length - length };
}

export const note: FileFormat = {
  name: 'note',
  description: 'notes, which begin with their author',
  extensions: ['note'],
  looksLike: (head) => FIELD.test(head.toString('latin1')),
  open: async (source) => new NoteFile(source, await source.read(0, source.size)),
};

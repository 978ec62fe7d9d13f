/**
 * A container of the tests' own that can be signed: a mark, the length of a list of its members in JSON, the list, their
 * contents one after another, and perhaps a signature with its length and a mark. What it signs is a digest of all that
 * precedes the signature.
 */
import { createHash } from 'node:crypto';
import { octets } from '../../../src/lib/asn1/encode-der.ts';
import { parseDer, readOctets } from '../../../src/lib/asn1/der.ts';
import type { DigestName, KnownDigest } from '../../../src/lib/asn1/oids.ts';
import { readAll, type ByteSource } from '../../../src/lib/bytes/byte-source.ts';
import { PatchedSource } from '../../../src/lib/bytes/patched-source.ts';
import { invalid } from '../../../src/lib/errors.ts';
import type { Container, Member, OpenMember } from '../../../src/engine/formats/container.ts';
import type {
  FileDigest,
  FileFormat,
  SignableFile,
  SignedContent,
} from '../../../src/engine/formats/signable-file.ts';

const CONTENT_TYPE = '2.25.4321';
const HEAD = Buffer.from('BOX!');
const MARK = Buffer.from('SEALED.\n');

/** A member, with its content or only its size and place. */
interface Listed extends Member {
  readonly start: number;
}

/** The bytes of a box with these files, some of which may be `fixed`. */
export function boxOf(
  files: Record<string, Buffer>,
  fixed: Record<string, string> = {},
  sizes: Record<string, number> = {},
): Buffer {
  const list = Object.entries(files).map(([path, { length }]) => ({
    path,
    size: sizes[path] ?? length,
    ...(fixed[path] === undefined ? {} : { fixed: fixed[path] }),
  }));
  const text = Buffer.from(JSON.stringify(list));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(text.length);
  return Buffer.concat([HEAD, length, text, ...Object.values(files)]);
}

class BoxFile implements SignableFile {
  readonly format = 'box';
  readonly signatures: readonly Buffer[];
  readonly canNest = true;
  readonly unauthenticatedData = [];
  private readonly body: Buffer;

  constructor(
    readonly source: ByteSource,
    bytes: Buffer,
  ) {
    const marked = bytes.subarray(-8).equals(MARK);
    const end = marked ? bytes.length - 12 - bytes.readUInt32LE(bytes.length - 12) : bytes.length;
    this.body = bytes.subarray(0, end);
    this.signatures = marked ? [bytes.subarray(end, -12)] : [];
  }

  requireSignable(): void {
    // Any box can be signed.
  }

  digest(hash: KnownDigest): Promise<Buffer> {
    return Promise.resolve(createHash(hash).update(this.body).digest());
  }

  contentToSign(_hash: DigestName, digest: Buffer): SignedContent {
    return { type: CONTENT_TYPE, der: octets(digest) };
  }

  readContent({ type, der }: SignedContent, hash: KnownDigest, what: string): FileDigest {
    if (type !== CONTENT_TYPE) throw invalid('authenticode-content', `${what}: not the content of a box`);
    return { hash, digest: readOctets(parseDer(der, what), what) };
  }

  embed(signature: Buffer): Promise<PatchedSource> {
    const trailer = Buffer.alloc(4);
    trailer.writeUInt32LE(signature.length);
    const body = { start: 0, end: this.body.length };
    return Promise.resolve(PatchedSource.of(this.source, [body, signature, trailer, MARK]));
  }

  remove(): Promise<PatchedSource> {
    return Promise.resolve(PatchedSource.of(this.source, [{ start: 0, end: this.body.length }]));
  }

  // eslint-disable-next-line require-await -- the interface is asynchronous
  async container(): Promise<Container> {
    const end = 8 + this.body.readUInt32LE(4);
    const list = JSON.parse(this.body.toString('utf8', 8, end)) as Member[];
    let start = end;
    const members = list.map((each) => {
      const listed = { ...each, start };
      start += each.size;
      return listed;
    });
    return new Box(this.source, this.body, members);
  }

  requireSameContent(original: SignableFile): Promise<void> {
    if (original instanceof BoxFile && original.body.equals(this.body)) return Promise.resolve();
    return Promise.reject(invalid('strip-body-differs', `${this.source.name}: something else inside`));
  }
}

class Box implements Container {
  constructor(
    private readonly source: ByteSource,
    private readonly body: Buffer,
    readonly members: readonly Listed[],
  ) {}

  async *read(wanted: (member: Member) => boolean): AsyncGenerator<OpenMember> {
    for (const member of this.members) if (wanted(member)) yield { member, content: this.content(member) };
  }

  // eslint-disable-next-line require-await -- the interface is asynchronous
  private async *content({ path, start, size }: Listed): AsyncGenerator<Buffer> {
    const bytes = this.body.subarray(start, start + size);
    if (bytes.length !== size) throw invalid('box-truncated', `${this.source.name}!/${path}: cut short`);
    yield bytes;
  }

  async replace(contents: ReadonlyMap<string, ByteSource>): Promise<PatchedSource> {
    const files: Record<string, Buffer> = {};
    const fixed: Record<string, string> = {};
    for (const { path, start, size, fixed: why } of this.members) {
      const content = contents.get(path);
      if (content && why !== undefined) throw invalid('box-fixed', `${path}: ${why}`);
      files[path] = content ? await readAll(content, 1e9) : this.body.subarray(start, start + size);
      if (why !== undefined) fixed[path] = why;
    }
    return PatchedSource.of(this.source, [boxOf(files, fixed)]);
  }
}

export const box: FileFormat = {
  name: 'box',
  description: 'boxes',
  extensions: ['box'],
  looksLike: (head) => head.subarray(0, 4).equals(HEAD),
  open: async (source) => new BoxFile(source, await source.read(0, source.size)),
};

import { createHash } from 'node:crypto';
import { invalid, usage, type SignpipeError } from '../errors.ts';
import { shortId } from './objects.ts';

/** A raw commit object, split into signature and signed payload. */
interface SignedCommit {
  /** The commit's id in hex. */
  readonly id: string;
  /** The bytes that the signature covers: the object without its signature header. */
  readonly payload: Buffer;
  /** The armored signature, or null. */
  readonly signature: string | null;
  readonly committedAt: Date;
}

const MAX_COMMIT = 1024 * 1024;
const LF = 10;
const SPACE = 32;
const COMMITTER = /^committer [^\n]*<[^<>\n]*> (\d{1,12}) [+-]\d{4}$/;

/** SHA-1 repositories sign in `gpgsig`, SHA-256 repositories in `gpgsig-sha256`. */
const FORMATS = {
  40: { hash: 'sha1', header: 'gpgsig' },
  64: { hash: 'sha256', header: 'gpgsig-sha256' },
} as const;
type ObjectFormat = (typeof FORMATS)[keyof typeof FORMATS];

/** The object format of a commit's repository, from the length of the id in its first line. */
function formatOf(raw: Buffer): ObjectFormat {
  const [, id = ''] = /^tree ([0-9a-f]+)\n/.exec(raw.toString('latin1', 0, 128)) ?? [];
  if (id.length === 40 || id.length === 64) return FORMATS[id.length];
  throw malformed(`a commit of ${raw.length} bytes does not begin with its tree`);
}

const idOf = (raw: Buffer, hash: string): string =>
  createHash(hash).update(`commit ${raw.length}\0`).update(raw).digest('hex');

const malformed = (message: string): SignpipeError =>
  invalid('commit-malformed', message, {
    hint: 'Git did not write this commit: examine it with git cat-file commit and git fsck, and find out who pushed it',
  });

/** How messages name a commit. */
export const commitLabel = (id: string): string => `commit ${shortId(id)}`;

/** The position of a header with its continuation lines. */
interface HeaderLines {
  name: string;
  /** `start` is the first byte of the name, `end` the byte after the last line end. */
  start: number;
  end: number;
}

/** The headers up to the blank line. A line that begins with a space continues the header before it. */
function headersOf(raw: Buffer, what: string): HeaderLines[] {
  const headers: HeaderLines[] = [];
  for (let at = 0; at < raw.length && raw[at] !== LF;) {
    const lineEnd = raw.indexOf(LF, at);
    if (lineEnd < 0) throw malformed(`${what} ends within a header`);
    const last = headers.at(-1);
    if (raw[at] === SPACE && last) last.end = lineEnd + 1;
    else
      headers.push({
        name: raw.toString('latin1', at, nameEnd(raw, at, lineEnd)),
        start: at,
        end: lineEnd + 1,
      });
    at = lineEnd + 1;
  }
  return headers;
}

function nameEnd(raw: Buffer, start: number, lineEnd: number): number {
  const space = raw.indexOf(SPACE, start);
  return space < 0 || space > lineEnd ? lineEnd : space;
}

/** Git writes tree, parents, author and committer in this order, and all but the parents once; it misreads other orders. */
function checkOrder(headers: readonly HeaderLines[], what: string): void {
  const names = headers.map(({ name }) => name);
  const parents = names.filter((name) => name === 'parent').length;
  const expected = ['tree', ...Array<string>(parents).fill('parent'), 'author', 'committer'];
  const unique = ['tree', 'author', 'committer'].every(
    (name) => names.indexOf(name) === names.lastIndexOf(name),
  );
  if (!unique || expected.some((name, index) => names[index] !== name))
    throw malformed(`${what} does not have tree, parents, author and committer in git's order`);
}

function committerTime(raw: Buffer, headers: readonly HeaderLines[], what: string): Date {
  const header = headers.find(({ name }) => name === 'committer');
  const line = header ? raw.toString('utf8', header.start, header.end - 1) : '';
  const seconds = COMMITTER.exec(line)?.[1];
  if (seconds === undefined) throw malformed(`${what} has a committer without a time`);
  return new Date(Number(seconds) * 1000);
}

/**
 * Removes the `gpgsig` header from a raw commit object, as Git's parse_buffer_signed_by_header (commit.c) does: the
 * value's continuation lines lose the space at their beginning; everything else, `mergetag` headers included, is the
 * payload.
 *
 * Git joins several `gpgsig` headers and drops every other header whose name begins with `gpgsig` from the payload, so
 * that unsigned bytes could be added to a signed commit. Both are refused here: `commit-signature-malformed`.
 */
export function splitCommit(raw: Buffer): SignedCommit {
  if (raw.length > MAX_COMMIT) throw malformed(`a commit has ${raw.length} bytes`);
  const format = formatOf(raw);
  const id = idOf(raw, format.hash);
  const what = commitLabel(id);
  if (raw.includes(0)) throw malformed(`${what} contains a NUL, which hides what follows it`);
  const headers = headersOf(raw, what);
  checkOrder(headers, what);
  const committedAt = committerTime(raw, headers, what);
  const [header, ...more] = headers.filter(({ name }) => name.startsWith('gpgsig'));
  if (!header) return { id, payload: raw, signature: null, committedAt };
  const value = raw.toString('latin1', header.start + header.name.length + 1, header.end);
  if (more.length > 0 || header.name !== format.header)
    throw invalid(
      'commit-signature-malformed',
      `${what} has signature headers beside or instead of one ${format.header}`,
      { hint: 'create the commit again with git commit -S' },
    );
  const payload = Buffer.concat([raw.subarray(0, header.start), raw.subarray(header.end)]);
  return { id, payload, signature: value.replaceAll('\n ', '\n'), committedAt };
}

/** Adds a signature to an unsigned raw commit object as the last header, byte for byte as `git commit -S` does. */
export function attachSignature(unsignedCommit: Buffer, armored: string): Buffer {
  const { signature } = splitCommit(unsignedCommit);
  if (signature !== null)
    throw usage('commit-signed-already', 'the commit to be signed has a signature already');
  const end = unsignedCommit.indexOf('\n\n') + 1;
  if (end === 0) throw malformed('the commit to be signed has no blank line after its headers');
  const lines = armored.replace(/\n$/, '').split('\n');
  const header = `${formatOf(unsignedCommit).header} ${lines.join('\n ')}\n`;
  return Buffer.concat([
    unsignedCommit.subarray(0, end),
    Buffer.from(header, 'latin1'),
    unsignedCommit.subarray(end),
  ]);
}

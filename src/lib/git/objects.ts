import { createHash } from 'node:crypto';
import { invalid } from '../errors.ts';

/** A full object id: 40 hex digits, lower case (SHA-1 repositories; Git detects collision attacks). */
export const OBJECT_ID = /^[0-9a-f]{40}$/;

/** The short form of an id, for people. */
export const shortId = (id: string): string => id.slice(0, 12);

export type ObjectType = 'blob' | 'tree' | 'commit';

/** The id that Git gives to an object. */
export function objectId(type: ObjectType, content: Buffer): string {
  return createHash('sha1').update(`${type} ${content.length}\0`).update(content).digest('hex');
}

/** Who wrote or committed, as the commit says: hostile text, to be shown through `printable` only. */
export interface DatedIdentity {
  name: string;
  email: string;
  at: Date;
}

/** A commit object, taken apart. Texts are hostile. */
export interface Commit {
  id: string;
  /** The object's exact bytes, for checking its signature. */
  raw: Buffer;
  tree: string;
  parents: string[];
  author: DatedIdentity;
  committer: DatedIdentity;
  /** The message, decoded as the commit's `encoding` header says, else as UTF-8; what is not text becomes U+FFFD. */
  message: string;
}

/** More parents than any honest merge has. */
const PARENT_LIMIT = 64;

const broken = (id: string, problem: string): Error =>
  invalid('commit-malformed', `commit ${shortId(id)} is malformed: ${problem}`);

interface CommitHeader {
  name: string;
  value: Buffer;
}

/** The header lines up to the blank line; a line that begins with a space continues the one before. */
function splitHeaders(raw: Buffer, id: string): { headers: CommitHeader[]; message: Buffer } {
  const headers: CommitHeader[] = [];
  let at = 0;
  for (;;) {
    const end = raw.indexOf(0x0a, at);
    if (end < 0) throw broken(id, 'it has no blank line after its headers');
    const line = raw.subarray(at, end);
    at = end + 1;
    if (line.length === 0) return { headers, message: raw.subarray(at) };
    if (line[0] === 0x20) {
      if (headers.length === 0) throw broken(id, 'it begins with a continuation line');
      continue;
    }
    const space = line.indexOf(0x20);
    if (space <= 0) throw broken(id, 'a header has no value');
    headers.push({ name: line.toString('latin1', 0, space), value: line.subarray(space + 1) });
  }
}

function decodeText(bytes: Buffer, encoding: string): string {
  try {
    return new TextDecoder(encoding).decode(bytes);
  } catch {
    return new TextDecoder('utf-8').decode(bytes);
  }
}

const PERSON = /^(.*?) ?<([^<>]*)> (-?\d{1,15}) [+-]\d{4,7}$/s;

function parsePerson(text: string, what: string, id: string): DatedIdentity {
  const match = PERSON.exec(text);
  const seconds = Number(match?.[3]);
  const at = new Date(seconds * 1000);
  if (!match || Number.isNaN(at.getTime())) throw broken(id, `its ${what} is not NAME <EMAIL> TIME ZONE`);
  return { name: match[1] ?? '', email: match[2] ?? '', at };
}

/** Reads a commit object (Git's Documentation/technical/signature-format and gitformat-commit); strict about what we use. */
export function parseCommit(raw: Buffer): Commit {
  const id = objectId('commit', raw);
  const { headers, message } = splitHeaders(raw, id);
  let at = 0;
  const take = (name: string): string | undefined => {
    if (headers[at]?.name !== name) return undefined;
    return headers[at++]?.value.toString('latin1');
  };
  const tree = take('tree') ?? '';
  const parents: string[] = [];
  for (let parent = take('parent'); parent !== undefined; parent = take('parent')) parents.push(parent);
  if (![tree, ...parents].every((value) => OBJECT_ID.test(value)))
    throw broken(id, 'its tree or a parent is not an object id');
  if (parents.length > PARENT_LIMIT) throw broken(id, `it has more than ${PARENT_LIMIT} parents`);
  const encoding = headers.find((h) => h.name === 'encoding')?.value.toString('latin1') ?? 'utf-8';
  const person = (name: string): DatedIdentity => {
    const value = headers[at]?.name === name ? headers[at++]?.value : undefined;
    if (value === undefined) throw broken(id, `it has no ${name}`);
    return parsePerson(decodeText(value, encoding), name, id);
  };
  const author = person('author');
  const committer = person('committer');
  if (headers.slice(at).some((h) => ['tree', 'parent', 'author', 'committer'].includes(h.name)))
    throw broken(id, 'it repeats a header');
  return { id, raw, tree, parents, author, committer, message: decodeText(message, encoding) };
}

/** Who commits: the name and address that go into a commit that we write. */
export interface GitIdentity {
  name: string;
  email: string;
}

export interface NewCommit {
  tree: string;
  parents: readonly string[];
  identity: GitIdentity;
  /** Author and committer time; Git keeps whole seconds. */
  at: Date;
  message: string;
}

/** Names may not hold what would end them: Git would silently drop it, so we do, visibly the same way. */
const cleanName = (text: string): string => text.replace(/[<>\p{C}]/gu, '').trim() || 'unknown';

/** The bytes of a commit without a signature; times in UTC, so equal input gives equal bytes. */
export function serializeCommit(commit: NewCommit): Buffer {
  const seconds = Math.floor(commit.at.getTime() / 1000);
  const who = `${cleanName(commit.identity.name)} <${cleanName(commit.identity.email)}> ${seconds} +0000`;
  const parents = commit.parents.map((parent) => `parent ${parent}\n`).join('');
  const message = commit.message.replace(/\0/g, '').replace(/(?<!\n)\n*$/, '\n');
  return Buffer.from(`tree ${commit.tree}\n${parents}author ${who}\ncommitter ${who}\n\n${message}`);
}

/** One entry of a tree object. `kind` tells regular files from what must never be read as one. */
export interface TreeEntry {
  /** Octal, as Git writes it: `100644`, `40000`. */
  mode: string;
  kind: 'file' | 'tree' | 'symlink' | 'submodule' | 'other';
  /** Decoded as UTF-8; bytes that are not become U+FFFD, so such a name never equals one that we look for. */
  name: string;
  /** The name's exact bytes, for writing the entry again. */
  exact: Buffer;
  id: string;
}

const KINDS: ReadonlyMap<string, TreeEntry['kind']> = new Map([
  ['100644', 'file'],
  ['100755', 'file'],
  ['100664', 'file'],
  ['40000', 'tree'],
  ['120000', 'symlink'],
  ['160000', 'submodule'],
]);

/** Reads a tree object; names that Git's fsck refuses, or repeated ones, are refused here too. */
export function parseTree(raw: Buffer): TreeEntry[] {
  const entries: TreeEntry[] = [];
  const seen = new Set<string>();
  for (let at = 0; at < raw.length;) {
    const space = raw.indexOf(0x20, at);
    const nul = raw.indexOf(0, at);
    const mode = raw.toString('latin1', at, Math.max(at, space));
    const exact = raw.subarray(space + 1, Math.max(space + 1, nul));
    const key = exact.toString('latin1');
    if (!/^[0-7]{5,6}$/.test(mode) || nul < space || nul + 21 > raw.length)
      throw invalid('tree-malformed', 'a tree in the control repository is malformed');
    if (key === '' || key.includes('/') || seen.has(key))
      throw invalid(
        'tree-malformed',
        'a tree in the control repository has an empty, nested or repeated name',
      );
    seen.add(key);
    entries.push({
      mode,
      kind: KINDS.get(mode) ?? 'other',
      name: exact.toString('utf8'),
      exact,
      id: raw.toString('hex', nul + 1, nul + 21),
    });
    at = nul + 21;
  }
  return entries;
}

/** An entry to write: `40000` for a tree, `100644` for a file. */
export interface NewTreeEntry {
  mode: string;
  name: string | Buffer;
  id: string;
}

/** The bytes of a tree, in Git's order: bytewise, a tree as if its name ended in a slash. */
export function serializeTree(entries: readonly NewTreeEntry[]): Buffer {
  const keyed = entries.map(({ mode, name, id }) => {
    const exact = typeof name === 'string' ? Buffer.from(name) : name;
    return { mode, exact, id, key: Buffer.concat([exact, Buffer.from(mode === '40000' ? '/' : '')]) };
  });
  keyed.sort((a, b) => Buffer.compare(a.key, b.key));
  return Buffer.concat(
    keyed.flatMap(({ mode, exact, id }) => [
      Buffer.from(`${mode} `),
      exact,
      Buffer.of(0),
      Buffer.from(id, 'hex'),
    ]),
  );
}

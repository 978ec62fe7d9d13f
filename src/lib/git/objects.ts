import { createHash } from 'node:crypto';
import { invalid } from '../errors.ts';

/** A full object id: 40 lower-case hex digits (SHA-1 repositories; Git detects collision attacks). */
export const OBJECT_ID = /^[0-9a-f]{40}$/;

/** The short form of an id, for messages. */
export const shortId = (id: string): string => id.slice(0, 12);

export type ObjectType = 'blob' | 'tree' | 'commit';

/** The id that Git gives to an object. */
export function objectId(type: ObjectType, content: Buffer): string {
  return createHash('sha1').update(`${type} ${content.length}\0`).update(content).digest('hex');
}

/** A name and address in a commit. */
export interface GitIdentity {
  name: string;
  email: string;
}

/** The author or committer and the time, as the commit claims: hostile text, to be shown only through `printable`. */
export interface DatedIdentity extends GitIdentity {
  at: Date;
}

/** A parsed commit object. Its texts are hostile. */
export interface Commit {
  id: string;
  /** The object's exact bytes, for checking its signature. */
  raw: Buffer;
  tree: string;
  parents: string[];
  author: DatedIdentity;
  committer: DatedIdentity;
  /** The message, decoded as the header `encoding` says, else as UTF-8; invalid bytes become U+FFFD. */
  message: string;
}

/** More parents than any real merge has. */
const PARENT_LIMIT = 64;

const broken = (id: string, problem: string): Error =>
  invalid('commit-malformed', `commit ${shortId(id)} is malformed: ${problem}`);

interface CommitHeader {
  name: string;
  value: Buffer;
}

/** The headers up to the blank line. A line that begins with a space continues the header before it and is ignored. */
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

const IDENTITY = /^(.*?) ?<([^<>]*)> (-?\d{1,15}) [+-]\d{4,7}$/s;

function parseIdentity(text: string, what: string, id: string): DatedIdentity {
  const match = IDENTITY.exec(text);
  const seconds = Number(match?.[3]);
  const at = new Date(seconds * 1000);
  if (!match || Number.isNaN(at.getTime())) throw broken(id, `its ${what} is not NAME <EMAIL> TIME ZONE`);
  return { name: match[1] ?? '', email: match[2] ?? '', at };
}

/** Parses a commit object (Git's Documentation/technical/signature-format and gitformat-commit), strictly for all that is used. */
export function parseCommit(raw: Buffer): Commit {
  const id = objectId('commit', raw);
  const { headers, message } = splitHeaders(raw, id);
  let at = 0;
  const nextHeader = (name: string): string | undefined => {
    if (headers[at]?.name !== name) return undefined;
    return headers[at++]?.value.toString('latin1');
  };
  const tree = nextHeader('tree') ?? '';
  const parents: string[] = [];
  for (let parent = nextHeader('parent'); parent !== undefined; parent = nextHeader('parent'))
    parents.push(parent);
  if (![tree, ...parents].every((value) => OBJECT_ID.test(value)))
    throw broken(id, 'its tree or a parent is not an object id');
  if (parents.length > PARENT_LIMIT) throw broken(id, `it has more than ${PARENT_LIMIT} parents`);
  const encoding = headers.find((h) => h.name === 'encoding')?.value.toString('latin1') ?? 'utf-8';
  const identity = (name: string): DatedIdentity => {
    const value = headers[at]?.name === name ? headers[at++]?.value : undefined;
    if (value === undefined) throw broken(id, `it has no ${name}`);
    return parseIdentity(decodeText(value, encoding), name, id);
  };
  const author = identity('author');
  const committer = identity('committer');
  if (headers.slice(at).some((h) => ['tree', 'parent', 'author', 'committer'].includes(h.name)))
    throw broken(id, 'it repeats a header');
  return { id, raw, tree, parents, author, committer, message: decodeText(message, encoding) };
}

export interface NewCommit {
  tree: string;
  parents: readonly string[];
  identity: GitIdentity;
  /** Author and committer time; Git keeps whole seconds. */
  at: Date;
  message: string;
}

/** Removes what a name or address cannot contain, as Git itself does. */
const cleanName = (text: string): string => text.replace(/[<>\p{C}]/gu, '').trim() || 'unknown';

/** The bytes of an unsigned commit. Times are in UTC, so equal input yields equal bytes. */
export function serializeCommit(commit: NewCommit): Buffer {
  const seconds = Math.floor(commit.at.getTime() / 1000);
  const who = `${cleanName(commit.identity.name)} <${cleanName(commit.identity.email)}> ${seconds} +0000`;
  const parents = commit.parents.map((parent) => `parent ${parent}\n`).join('');
  const message = commit.message.replace(/\0/g, '').replace(/(?<!\n)\n*$/, '\n');
  return Buffer.from(`tree ${commit.tree}\n${parents}author ${who}\ncommitter ${who}\n\n${message}`);
}

/** An entry of a tree object. `kind` distinguishes regular files from all that must never be read as one. */
export interface TreeEntry {
  /** Octal, as Git writes it: `100644`, `40000`. */
  mode: string;
  kind: 'file' | 'tree' | 'symlink' | 'submodule' | 'other';
  /** Decoded as UTF-8. Invalid bytes become U+FFFD, so such a name never equals a name that is looked up. */
  name: string;
  /** The exact bytes of the name, for copying the entry. */
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

/** Parses a tree object. Refuses empty, nested and repeated names, as Git's fsck does. */
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
      throw invalid('tree-malformed', 'a tree object is malformed');
    if (key === '' || key.includes('/') || seen.has(key))
      throw invalid('tree-malformed', 'a tree object has an empty, nested or repeated name');
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

/** The bytes of a tree, sorted as in Git: bytewise, a folder as if its name ended in a slash. */
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

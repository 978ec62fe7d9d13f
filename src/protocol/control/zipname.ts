import { normalPath } from '../../lib/zip/entry-paths.ts';
import { invalid, type SignpipeError } from '../../lib/errors.ts';
import { printable } from '../../lib/printable.ts';

/** The largest `zipname`, in bytes. */
export const ZIPNAME_LIMIT = 64 * 1024;
/** The most lines; blank lines and comments do not count. */
const LINE_LIMIT = 100;
/** The longest name, in bytes. */
const NAME_LIMIT = 255;
/** The longest path below a folder of the exchange, in bytes. */
const PATH_LIMIT = 800;

/** One entry of a requested zip, pinned by the SHA-256 of its uncompressed bytes. */
export interface PinnedEntry {
  /** The displayed form of its name, normalised by `normalPath`, so that one entry has one spelling. */
  path: string;
  sha256: string;
}

/** One file that a `zipname` names, with its pins. Hashes are lower-case hex. */
export interface RequestedFile {
  name: string;
  /** SHA-256 of the whole file, when pinned. */
  sha256?: string;
  /** Entries of the zip with pins of their own, in the order of their lines. */
  entries?: PinnedEntry[];
}

const PIN = /^([0-9a-fA-F]{64}) [ *](.+)$/u;
const SEGMENT = /^[A-Za-z0-9._+@=][A-Za-z0-9._+@=-]*$/;
const CONTROL = /\p{Cc}/u;

/** What is wrong with a name, or null. Configuration and command lines use it too. */
export const nameProblem = (name: string): string | null => problemOf(name, NAME_LIMIT);

/** What is wrong with a path below a folder of the exchange, or null. Longer than a name, since it may have folders. */
export const pathProblem = (path: string): string | null => problemOf(path, PATH_LIMIT);

function problemOf(name: string, limit: number): string | null {
  if (name.length > limit) return `is longer than ${limit} bytes`;
  const wrong = name.split('/').find((s) => !SEGMENT.test(s) || s === '.' || s === '..');
  if (wrong === undefined) return null;
  if (wrong === '') return 'is empty, absolute, or has an empty segment';
  if (wrong === '.' || wrong === '..') return 'has a segment . or ..';
  return wrong.startsWith('-')
    ? 'has a segment that begins with -'
    : 'has characters other than A-Z a-z 0-9 . _ + @ = - and /';
}

type MakeError = (code: string, problem: string, hint?: string) => SignpipeError;

const refusalAt =
  (line: number, text: string): MakeError =>
  (code, problem, hint) =>
    invalid(
      `zipname-${code}`,
      `zipname line ${line}: "${printable(text, 300)}" ${problem}`,
      hint === undefined ? {} : { hint },
    );

function requireName(name: string, refuse: MakeError): void {
  const problem = nameProblem(name);
  if (problem !== null)
    throw refuse(
      name.length > NAME_LIMIT ? 'name-too-long' : 'name',
      problem,
      'write a relative path, or what sha256sum prints',
    );
}

interface ZipnameLine {
  name: string;
  sha256?: string;
  path?: string;
}

function parseLine(text: string, refuse: MakeError): ZipnameLine {
  const pin = PIN.exec(text);
  if (!pin) {
    requireName(text, refuse);
    return { name: text };
  }
  const sha256 = (pin[1] ?? '').toLowerCase();
  const target = pin[2] ?? '';
  const bang = target.indexOf('!/');
  const name = bang < 0 ? target : target.slice(0, bang);
  requireName(name, refuse);
  if (bang < 0) return { name, sha256 };
  const path = target.slice(bang + 2);
  if (path === '') throw refuse('entry', 'names no entry after !/');
  if (CONTROL.test(path)) throw refuse('entry', 'has a control character in the path of an entry');
  return { name, sha256, path: normalPath(path) };
}

/** What a line pins or names: a second line with the same key is a repetition. */
const keyOf = (line: ZipnameLine): string =>
  line.path === undefined ? line.name : `${line.name}!/${line.path}`;

function addLine(files: Map<string, RequestedFile>, line: ZipnameLine): void {
  const file = files.get(line.name) ?? { name: line.name };
  files.set(line.name, file);
  if (line.sha256 === undefined) return;
  if (line.path === undefined) file.sha256 = line.sha256;
  else (file.entries ??= []).push({ path: line.path, sha256: line.sha256 });
}

/** The lines with their numbers, counted from 1, without blank lines and comments. */
function contentLines(text: string): { number: number; text: string }[] {
  return text
    .split('\n')
    .map((line, i) => ({ number: i + 1, text: line.endsWith('\r') ? line.slice(0, -1) : line }))
    .filter((line) => !/^[ \t]*$/.test(line.text) && !line.text.startsWith('#'));
}

function decode(bytes: Buffer): string {
  if (bytes.length > ZIPNAME_LIMIT)
    throw invalid('zipname-too-large', `zipname is ${bytes.length} bytes, more than ${ZIPNAME_LIMIT}`, {
      hint: 'write only names and digests into it',
    });
  const hint = 'save it as UTF-8 without a byte order mark';
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    if (!text.startsWith('\uFEFF')) return text;
  } catch (cause) {
    throw invalid('zipname-encoding', 'zipname is not UTF-8', { hint, cause });
  }
  throw invalid('zipname-encoding', 'zipname begins with a byte order mark', { hint });
}

/**
 * Reads a `zipname` (docs/protocol.md). Each line is `NAME`, `HEX  NAME` or `HEX *NAME` as sha256sum prints, or
 * `HEX  NAME!/ENTRY`. Lines about one file are merged, in the order in which files are first named.
 *
 * CR LF ends a line too, since builders on Windows write it; a lone CR does not, and is refused as part of a name.
 * Hashes may be in upper case, as PowerShell prints them. A file named twice, a pin given twice, or a bare name beside
 * pins of the same file is refused, because one of the two would have to be ignored.
 */
export function parseZipname(bytes: Buffer): RequestedFile[] {
  const lines = contentLines(decode(bytes));
  if (lines.length === 0)
    throw invalid('zipname-empty', 'zipname names no file', {
      hint: 'write one name per line: sha256sum FILE > zipname',
    });
  if (lines.length > LINE_LIMIT)
    throw invalid('zipname-too-many-lines', `zipname has ${lines.length} lines, more than ${LINE_LIMIT}`, {
      hint: 'make several requests, or put the files into one zip',
    });
  const files = new Map<string, RequestedFile>();
  const keys = new Set<string>();
  const bare = new Set<string>();
  for (const { number, text } of lines) {
    const refuse = refusalAt(number, text);
    const line = parseLine(text, refuse);
    if (keys.has(keyOf(line)) || bare.has(line.name) || (line.sha256 === undefined && files.has(line.name)))
      throw refuse('duplicate', 'names something that an earlier line names', 'remove one of the two lines');
    keys.add(keyOf(line));
    if (line.sha256 === undefined) bare.add(line.name);
    addLine(files, line);
  }
  return [...files.values()];
}

/** The lines for a file: its pins, as `sha256sum` would print them, or its bare name. */
export function zipnameLines(file: RequestedFile): string[] {
  const entries = (file.entries ?? []).map((e) => `${e.sha256}  ${file.name}!/${e.path}`);
  if (file.sha256 !== undefined) return [`${file.sha256}  ${file.name}`, ...entries];
  return entries.length > 0 ? entries : [file.name];
}

/** The `zipname` for some files. It is parsed before it is returned, so nothing malformed is committed. */
export function formatZipname(files: readonly RequestedFile[]): Buffer {
  const unpinnable = files.flatMap((file) => file.entries ?? []).find(({ path }) => CONTROL.test(path));
  if (unpinnable)
    throw invalid(
      'zipname-entry',
      `"${printable(unpinnable.path, 300)}": a zipname cannot pin an entry with such a name`,
      { hint: 'pin the zip as a whole' },
    );
  const bytes = Buffer.from(files.flatMap((file) => zipnameLines(file).map((line) => `${line}\n`)).join(''));
  parseZipname(bytes);
  return bytes;
}

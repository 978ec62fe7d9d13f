import { isMap, isNode, isScalar, LineCounter, parseDocument } from 'yaml';
import { SignpipeError } from '../../../lib/errors.ts';

/*
 * These functions change single values of a YAML text and leave every other byte, such as comments and alignment. So
 * the configurations that `init` writes are the examples of this package, in which every key is explained.
 */

/** The position of a `key: value`: offsets into the text, and line numbers from 0. */
interface ValuePosition {
  /** After the colon. */
  readonly afterKey: number;
  readonly valueStart: number;
  readonly valueEnd: number;
  readonly keyLine: number;
  readonly valueLine: number;
  readonly lastLine: number;
}

function locate(text: string, path: readonly string[]): ValuePosition {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  const parent: unknown = path.length === 1 ? document.contents : document.getIn(path.slice(0, -1), true);
  const pair = isMap(parent)
    ? parent.items.find(({ key }) => isScalar(key) && key.value === path.at(-1))
    : undefined;
  const { key, value } = pair ?? {};
  if (!isNode(key) || !isNode(value) || !key.range || !value.range)
    throw new SignpipeError('local', 'template-broken', `the example configuration has no ${path.join('.')}`);
  const [valueStart, valueEnd] = value.range;
  const lineOf = (offset: number): number => lines.linePos(offset).line - 1;
  return {
    afterKey: text.indexOf(':', key.range[1]) + 1,
    valueStart,
    valueEnd,
    keyLine: lineOf(key.range[0]),
    valueLine: lineOf(valueStart),
    lastLine: lineOf(Math.max(valueStart, valueEnd - 1)),
  };
}

const linesOf = (text: string): string[] => text.split('\n');

function dropLines(text: string, from: number, to: number): string {
  return linesOf(text)
    .filter((_, line) => line < from || line > to)
    .join('\n');
}

function commentOutLines(text: string, from: number, to: number): string {
  const lines = linesOf(text);
  const indent = /^ */.exec(lines[from] ?? '')?.[0].length ?? 0;
  const commentOutLine = (line: string): string =>
    line.trim() === '' ? line : `${line.slice(0, indent)}# ${line.slice(indent)}`;
  return lines.map((line, at) => (at < from || at > to ? line : commentOutLine(line))).join('\n');
}

/** Inserts a text. If spaces and a comment follow, it replaces some of the spaces, so that the comment stays in its column. */
function insert(text: string, offset: number, inserted: string): string {
  const spaces = /^ +(?=#)/.exec(text.slice(offset))?.[0].length ?? 0;
  const replaced = Math.min(inserted.length, Math.max(0, spaces - 1));
  return `${text.slice(0, offset)}${inserted}${text.slice(offset + replaced)}`;
}

/** Writes a text as YAML: plain if that means the same, else as JSON, which is YAML too. */
const scalar = (value: string): string =>
  /^[A-Za-z/][A-Za-z0-9 ._/@+-]*$/.test(value) &&
  value === value.trim() &&
  !/^(?:true|false|null|yes|no|on|off|y|n)$/i.test(value)
    ? value
    : JSON.stringify(value);

/** Replaces the value at `path`, which must exist. A comment after it stays in its column if there is room. */
export function setValue(text: string, path: readonly string[], value: string | readonly string[]): string {
  const written = typeof value === 'string' ? scalar(value) : JSON.stringify(value);
  const { afterKey, valueStart, valueEnd, keyLine, valueLine, lastLine } = locate(text, path);
  if (valueLine > keyLine) return insert(dropLines(text, valueLine, lastLine), afterKey, ` ${written}`);
  const spaces = /^ *(?=#)/.exec(text.slice(valueEnd))?.[0].length ?? 0;
  const column = valueEnd + spaces - valueStart;
  const padded = spaces === 0 ? written : `${written} `.padEnd(column);
  return `${text.slice(0, valueStart)}${padded}${text.slice(valueEnd + spaces)}`;
}

/** Replaces the values whose names are given as `section.key`; undefined leaves a value as it is. */
export const setValues = (text: string, values: Readonly<Record<string, string | undefined>>): string =>
  Object.entries(values).reduce(
    (changed, [name, value]) => (value === undefined ? changed : setValue(changed, name.split('.'), value)),
    text,
  );

/** Inserts a key and its value as the first line of a block mapping. */
export function insertValue(text: string, section: readonly string[], name: string, value: string): string {
  const { valueLine } = locate(text, section);
  const lines = linesOf(text);
  const indent = /^ */.exec(lines[valueLine] ?? '')?.[0] ?? '';
  lines.splice(valueLine, 0, `${indent}${name}: ${scalar(value)}`);
  return lines.join('\n');
}

/** Turns a key and its value into a comment. */
export function commentOut(text: string, path: readonly string[]): string {
  const { keyLine, lastLine } = locate(text, path);
  return commentOutLines(text, keyLine, lastLine);
}

/** Turns the content of a block mapping into comments and sets the mapping to `{}`. */
export function emptyMap(text: string, path: readonly string[]): string {
  const { afterKey, valueLine, lastLine } = locate(text, path);
  const commented = commentOutLines(text, valueLine, lastLine);
  return insert(commented, afterKey, ' {}');
}

import { isMap, isNode, isScalar, LineCounter, parseDocument, type Pair } from 'yaml';
import { SignpipeError } from '../../lib/errors.ts';

/**
 * Changes single values of a YAML text and leaves every other byte, comments and alignment among them,
 * as it was. So the configurations that `init` writes are the readShippedFile examples, explained key by key.
 */

/** Where a `key: value` stands: offsets into the text, and lines counted from 0. */
interface ValuePosition {
  /** Just behind the colon. */
  readonly afterKey: number;
  readonly valueStart: number;
  readonly valueEnd: number;
  readonly keyLine: number;
  readonly valueLine: number;
  readonly lastLine: number;
}

const missing = (path: readonly string[]): SignpipeError =>
  new SignpipeError('local', 'template-broken', `the example configuration has no ${path.join('.')}`);

function pairAt(text: string, path: readonly string[]): Pair {
  const document = parseDocument(text);
  const parent: unknown = path.length === 1 ? document.contents : document.getIn(path.slice(0, -1), true);
  const pair = isMap(parent)
    ? parent.items.find(({ key }) => isScalar(key) && key.value === path.at(-1))
    : undefined;
  if (!pair) throw missing(path);
  return pair;
}

function find(text: string, path: readonly string[]): ValuePosition {
  const { key, value } = pairAt(text, path);
  if (!isNode(key) || !isNode(value) || !key.range || !value.range) throw missing(path);
  const lines = new LineCounter();
  parseDocument(text, { lineCounter: lines });
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

function disableLines(text: string, from: number, to: number): string {
  const lines = linesOf(text);
  const indent = /^ */.exec(lines[from] ?? '')?.[0].length ?? 0;
  const disable = (line: string): string =>
    line.trim() === '' ? line : `${line.slice(0, indent)}# ${line.slice(indent)}`;
  return lines.map((line, at) => (at < from || at > to ? line : disable(line))).join('\n');
}

/** Puts something in front of blanks and a comment, which takes up some of the blanks, or of nothing. */
function insert(text: string, offset: number, written: string): string {
  const behind = /^ +(?=#)/.exec(text.slice(offset))?.[0].length ?? 0;
  const taken = Math.min(written.length, Math.max(0, behind - 1));
  return `${text.slice(0, offset)}${written}${text.slice(offset + taken)}`;
}

/** JSON is YAML; a plain word needs no quotes. Words that YAML takes for something else keep theirs. */
const scalar = (value: string): string =>
  /^[A-Za-z/][A-Za-z0-9 ._/@+-]*$/.test(value) &&
  value === value.trim() &&
  !/^(?:true|false|null|yes|no|on|off|y|n)$/i.test(value)
    ? value
    : JSON.stringify(value);

/** Sets a value that is there; a comment behind it keeps its column where it can. */
export function setValue(text: string, path: readonly string[], value: string | readonly string[]): string {
  const written = typeof value === 'string' ? scalar(value) : JSON.stringify(value);
  const { afterKey, valueStart, valueEnd, keyLine, valueLine, lastLine } = find(text, path);
  if (valueLine > keyLine) return insert(dropLines(text, valueLine, lastLine), afterKey, ` ${written}`);
  const behind = /^ *(?=#)/.exec(text.slice(valueEnd))?.[0].length ?? 0;
  const column = valueEnd + behind - valueStart;
  const padded = behind === 0 ? written : `${written} `.padEnd(column);
  return `${text.slice(0, valueStart)}${padded}${text.slice(valueEnd + behind)}`;
}

/** Turns a key with its value into a comment. */
export function disable(text: string, path: readonly string[]): string {
  const { keyLine, lastLine } = find(text, path);
  return disableLines(text, keyLine, lastLine);
}

/** Turns what is in a block mapping into comments, and leaves it empty. */
export function emptyMap(text: string, path: readonly string[]): string {
  const { afterKey, valueLine, lastLine } = find(text, path);
  const disabled = disableLines(text, valueLine, lastLine);
  return insert(disabled, afterKey, ' {}');
}

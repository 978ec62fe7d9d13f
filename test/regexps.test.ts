/**
 * Checks that no regular expression in src/ takes more than linear time on any text, since most texts come from outside.
 * A parser finds every expression, which then runs over texts that are bad for it: long repetitions of the characters
 * that it mentions, after a beginning that it expects, and before an end that it does not.
 */
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parse, type Node } from 'acorn';
import { transform } from 'esbuild';
import { compilePatterns } from '../src/engine/artifact/globs.ts';

const SOURCE = fileURLToPath(new URL('../src', import.meta.url));

interface Found {
  readonly where: string;
  readonly regexp: RegExp;
}

function* nodesOf(value: unknown): Generator<Node & Record<string, unknown>> {
  if (Array.isArray(value)) for (const each of value) yield* nodesOf(each);
  if (value === null || typeof value !== 'object' || !('type' in value)) return;
  yield value as Node & Record<string, unknown>;
  for (const each of Object.values(value)) if (each && typeof each === 'object') yield* nodesOf(each);
}

/** The arguments of `RegExp(…)` and `new RegExp(…)`. */
function argumentsOf(node: Node & Record<string, unknown>): { value?: unknown }[] | null {
  if (node.type !== 'NewExpression' && node.type !== 'CallExpression') return null;
  const { name } = node['callee'] as { name?: string };
  return name === 'RegExp' ? (node['arguments'] as { value?: unknown }[]) : null;
}

function regexpsOf(code: string, where: string): { found: Found[]; computed: string[] } {
  const found: Found[] = [];
  const computed: string[] = [];
  for (const node of nodesOf(parse(code, { ecmaVersion: 'latest', sourceType: 'module' }))) {
    const literal = node['regex'] as { pattern: string; flags: string } | undefined;
    if (literal) found.push({ where, regexp: new RegExp(literal.pattern, literal.flags) });
    const [pattern, flags] = argumentsOf(node) ?? [];
    if (!pattern) continue;
    if (typeof pattern.value !== 'string') computed.push(where);
    else found.push({ where, regexp: new RegExp(pattern.value, flags?.value as string | undefined) });
  }
  return { found, computed };
}

async function allRegexps(): Promise<{ found: Found[]; computed: string[] }> {
  const names = (await readdir(SOURCE, { recursive: true })).filter((name) => name.endsWith('.ts')).sort();
  const each = await Promise.all(
    names.map(async (name) => {
      const { code } = await transform(await readFile(join(SOURCE, name), 'utf8'), { loader: 'ts' });
      return regexpsOf(code, name);
    }),
  );
  return { found: each.flatMap(({ found }) => found), computed: each.flatMap(({ computed }) => computed) };
}

/** The characters that an expression mentions, and one of each common class. */
function alphabetOf({ source }: RegExp): string[] {
  const plain = source.replace(/\\[a-zA-Z](?:\{[^}]*\})?/g, '').replace(/[\\^$*+?()[\]{}|]/g, '');
  return [
    ...new Set([...Array.from(plain.slice(0, 60)), ' ', 'a', '0', '.', '\n', '\t', '-', '/', '\\', '"', '(']),
  ].slice(0, 24);
}

/** The plain text with which an expression begins. */
const beginningOf = ({ source }: RegExp): string =>
  /^\^?([^\\^$*+?()[\]{}|]*)(?![*+?{])/.exec(source)?.[1] ?? '';

interface Text {
  readonly head: string;
  readonly pump: string;
  readonly tail: string;
}

function* badTexts(regexp: RegExp): Generator<Text> {
  const alphabet = alphabetOf(regexp);
  const some = alphabet.slice(0, 6);
  const pumps = [...alphabet, ...some.flatMap((a) => some.filter((b) => a !== b).map((b) => a + b))];
  for (const head of new Set(['', beginningOf(regexp), 'x']))
    for (const pump of pumps) for (const tail of ['\0', 'x\n', '']) yield { head, pump, tail };
}

const textOf = ({ head, pump, tail }: Text, length: number): string =>
  head + pump.repeat(length / pump.length) + tail;

/** CPU time of one search, or of all if the expression is global, in milliseconds. */
function costOf(regexp: RegExp, text: string): number {
  regexp.lastIndex = 0;
  const before = process.cpuUsage();
  if (regexp.global) text.replace(regexp, '');
  else regexp.exec(text);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

const SHORT = 40;
const LONG = 8000;
/** In milliseconds: linear time takes about 0.05, quadratic time about 25. */
const BUDGET = 8;

/** The least of three, since the process also does other things. */
const leastCost = (regexp: RegExp, text: string): number =>
  Math.min(costOf(regexp, text), costOf(regexp, text), costOf(regexp, text));

/** A text for which an expression takes too long; null if none is found. */
function worstOf(regexp: RegExp): Text | null {
  for (const text of badTexts(regexp))
    for (const length of [SHORT, 1000, LONG]) {
      if (costOf(regexp, textOf(text, length)) > BUDGET && leastCost(regexp, textOf(text, length)) > BUDGET)
        return text;
    }
  return null;
}

describe('regular expressions', async () => {
  const { found, computed } = await allRegexps();

  it('are all found', () => {
    assert.ok(found.length > 100, `${found.length} in src/`);
    assert.deepEqual(computed, [], 'write these as literals, so that this test sees them');
  });

  it('take linear time', () => {
    const distinct = new Map(found.map((each) => [String(each.regexp), each]));
    const slow = [...distinct.values()].flatMap(({ where, regexp }) => {
      const text = worstOf(regexp);
      return text ? [`${where}: ${String(regexp)} on ${JSON.stringify(text)}`] : [];
    });
    assert.deepEqual(slow, []);
  });

  const QUADRATIC = [/[. ]+$/, /\s+$/, /^(?:a|aa)+$/, /(\w+)\s*=\s*(\w+);/, /^Vouch: *(.*?) *$/, /a.*b.*c/];
  for (const regexp of QUADRATIC) it(`would be caught: ${String(regexp)}`, () => assert.ok(worstOf(regexp)));
});

describe('patterns over paths', () => {
  const PATTERNS = [
    ['**/*.exe', '**/*.dll'],
    ['**/bin/**/*.exe'],
    ['**/{a,b}/**/x*.dll', '!**/third-party/**'],
  ];
  const texts = ['a/', 'bin/', 'bin/.', 'a', '.exe', 'ab/', '..', '\\', '.', '.'];
  for (const patterns of PATTERNS)
    it(`take little time on the longest paths: ${patterns.join(' ')}`, () => {
      const isMeant = compilePatterns(patterns);
      isMeant('x');
      for (const text of texts) {
        const before = process.cpuUsage();
        isMeant(`${text.repeat(4090 / text.length)}x`);
        const { user } = process.cpuUsage(before);
        assert.ok(user < 60_000, `${JSON.stringify(text)}: ${user / 1000} ms`);
      }
    });
});

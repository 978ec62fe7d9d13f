/**
 * Checks that no object is indexed by a name from outside: `TABLE['constructor']` finds what every object has. Tables
 * with arbitrary names are Maps; objects from JSON are guarded by Object.hasOwn. Objects whose keys the compiler knows
 * one by one are allowed.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { sourceFiles, withoutComments } from './error-codes.ts';

/** Objects that take any text as a key: declared in a file, or members of JSON values, which are used anywhere. */
const OPEN_HERE = [
  /\b(\w+)\??: (?:Readonly<|Partial<)*Record<string\b/g,
  /\b(\w+) = (?:Object\.fromEntries\(|JSON\.parse\()/g,
];
const OPEN_ANYWHERE = [
  /\b(\w+): z\s*\.record\(/g,
  /\b(\w+)\??: (?:Readonly<)?\{ ?(?:readonly )?\[\w+: string\]/g,
];

const named = (text: string, patterns: readonly RegExp[]): string[] =>
  patterns.flatMap((pattern) => [...text.matchAll(pattern)].map(([, name = '']) => name));

const LITERAL = /^(?:'[^']*'|"[^"]*"|\d+)$/;

/** The unguarded lookups by a key that is not a literal, as `FILE: EXPRESSION`. */
export function openLookups(sources: ReadonlyMap<string, string>): string[] {
  const texts = new Map([...sources].map(([file, source]) => [file, withoutComments(source)]));
  const anywhere = [...texts.values()].flatMap((text) => named(text, OPEN_ANYWHERE));
  const found: string[] = [];
  for (const [file, text] of texts) {
    const open = new Set([...anywhere, ...named(text, OPEN_HERE)]);
    for (const [whole, name = '', key = ''] of text.matchAll(
      /\b(\w+)(?:\?\.)?\[([^[\]]*(?:\[[^[\]]*\][^[\]]*)*)\]/g,
    ))
      if (open.has(name) && !LITERAL.test(key) && !isGuarded(text, name, key))
        found.push(`${file}: ${whole}`);
    for (const [whole] of text.matchAll(/\[[^[\]]* as keyof [^[\]]*\]/g)) found.push(`${file}: ${whole}`);
    for (const [whole, name = ''] of text.matchAll(/(?<![\w'"]\s*|const |let )\b\w+ in (\w+)\b(?!['"])/g))
      if (open.has(name)) found.push(`${file}: ${whole}`);
  }
  return found;
}

const isGuarded = (text: string, name: string, key: string): boolean =>
  new RegExp(`Object\\.hasOwn\\((?:\\w+\\.)*${name}, ${key.replace(/\W/g, '\\$&')}\\)`).test(text);

describe('objects that take any text as a key', () => {
  it('are not indexed without Object.hasOwn', async () => {
    // The sandbox answers only tests, and the build is run only by developers.
    const sources = [...(await sourceFiles())].filter(([file]) => !/^(?:sandbox|build)\//.test(file));
    assert.ok(sources.length > 200);
    assert.deepEqual(openLookups(new Map(sources)), []);
  });

  for (const [what, source] of Object.entries({
    'a table': `const T: Record<string, number> = { a: 1 };\nconst n = T[name];`,
    'a frozen table': `const T: Readonly<Record<string, number>> = { a: 1 };\nconst n = T[names[0] ?? ''];`,
    'a member of JSON': `const schema = z.object({ items: z.record(z.string(), item) });\nconst n = value?.items[name];`,
    'an index signature': `interface A { items: { readonly [name: string]: B } }\nconst n = a.items[name];`,
    'an object from entries': `const made = Object.fromEntries(pairs);\nconst n = made[name];`,
    'parsed JSON': `const said = JSON.parse(text);\nconst n = said[name];`,
    'a key that is cast to a known one': `const n = T[name as keyof typeof T];`,
    'a test with in': `const T: Record<string, number> = {};\nif (name in T) go();`,
  }))
    it(`would be reported: ${what}`, () => assert.equal(openLookups(new Map([['a.ts', source]])).length, 1));

  for (const [what, source] of Object.entries({
    'Object.hasOwn': `const T: Record<string, number> = {};\nconst n = Object.hasOwn(T, name) ? T[name] : undefined;`,
    'a literal': `const T: Record<string, number> = {};\nconst n = T['a'];`,
    'known keys': `const T: Record<Kind, number> = { a: 1 };\nconst n = T[kind];`,
    'a list': `const list = [1, 2];\nconst n = list[at];`,
    'a Map': `const T: ReadonlyMap<string, number> = new Map();\nconst n = T.get(name);`,
  }))
    it(`would not be reported: ${what}`, () =>
      assert.deepEqual(openLookups(new Map([['a.ts', source]])), []));
});

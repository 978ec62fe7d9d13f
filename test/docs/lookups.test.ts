/**
 * No object is looked up by a name from outside: `TABLE['constructor']` finds what every object has. Tables with
 * arbitrary names are Maps; what has to be an object, since it came as JSON, is asked through Object.hasOwn. Objects
 * whose keys the compiler knows one by one are left alone.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { sourceFiles, withoutComments } from './error-codes.ts';

/** An object that takes any text as a key: declared so in a file, or a member of what comes as JSON, used anywhere. */
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

/** What these sources look up by a key that is not written there, as `FILE: EXPRESSION`. */
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
  it('are looked up by no name that is not asked for with Object.hasOwn', async () => {
    // The sandbox answers tests; what builds this program is run by its developers.
    const sources = [...(await sourceFiles())].filter(([file]) => !/^(?:sandbox|build)\//.test(file));
    assert.ok(sources.length > 200);
    assert.deepEqual(openLookups(new Map(sources)), []);
  });

  for (const [what, source] of Object.entries({
    'a table': `const T: Record<string, number> = { a: 1 };\nconst n = T[name];`,
    'a frozen table': `const T: Readonly<Record<string, number>> = { a: 1 };\nconst n = T[names[0] ?? ''];`,
    'a member of JSON': `const schema = z.object({ items: z.record(z.string(), item) });\nconst n = value?.items[name];`,
    'an index signature': `interface A { items: { readonly [name: string]: B } }\nconst n = a.items[name];`,
    'entries made an object': `const made = Object.fromEntries(pairs);\nconst n = made[name];`,
    'parsed JSON': `const said = JSON.parse(text);\nconst n = said[name];`,
    'a key that is said to be known': `const n = T[name as keyof typeof T];`,
    'a test with in': `const T: Record<string, number> = {};\nif (name in T) go();`,
  }))
    it(`would be found: ${what}`, () => assert.equal(openLookups(new Map([['a.ts', source]])).length, 1));

  for (const [what, source] of Object.entries({
    'Object.hasOwn': `const T: Record<string, number> = {};\nconst n = Object.hasOwn(T, name) ? T[name] : undefined;`,
    'a literal': `const T: Record<string, number> = {};\nconst n = T['a'];`,
    'known keys': `const T: Record<Kind, number> = { a: 1 };\nconst n = T[kind];`,
    'a list': `const list = [1, 2];\nconst n = list[at];`,
    'a Map': `const T: ReadonlyMap<string, number> = new Map();\nconst n = T.get(name);`,
  }))
    it(`are passed over: ${what}`, () => assert.deepEqual(openLookups(new Map([['a.ts', source]])), []));
});

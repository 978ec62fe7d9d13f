/** What `npm run check` runs: checks that imports follow the layers, and that no folders and no files import each other. */
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';

const src = resolve(import.meta.dirname, '..');

/** What each layer may import. What is not listed here, `main.ts` and `build`, may import everything. */
const MAY_IMPORT: ReadonlyMap<string, readonly string[]> = new Map(
  Object.entries({
    cli: ['cli', 'app', 'engine', 'protocol', 'lib', 'sandbox'],
    app: ['app', 'engine', 'protocol', 'lib'],
    engine: ['engine', 'lib'],
    protocol: ['protocol', 'lib'],
    lib: ['lib'],
    // Beside the layers.
    sandbox: ['sandbox', 'app', 'engine', 'protocol', 'lib'],
    'audit-page': ['audit-page'],
  }),
);

/** The only file of another layer that a layer may import types from: the page shows the audit's model. */
const MAY_IMPORT_TYPES: ReadonlyMap<string, string> = new Map([['audit-page', 'app/auditor/model.ts']]);

const IMPORT =
  /\b(?:(?<types>import type|export type)\b[^;'"]*?from|from|import\(|import)\s*'(?<path>\.[^']*)'/g;

interface Import {
  /** Paths below `src/`. */
  readonly from: string;
  readonly to: string;
  readonly types: boolean;
  /** `import(…)`: loaded when it is reached. */
  readonly dynamic: boolean;
}

async function importsOf(file: string): Promise<Import[]> {
  const text = await readFile(join(src, file), 'utf8');
  return [...text.matchAll(IMPORT)].map(({ 0: all, groups }) => ({
    from: file,
    to: relative(src, resolve(src, dirname(file), groups?.['path'] ?? '')),
    types: groups?.['types'] !== undefined,
    dynamic: all.startsWith('import('),
  }));
}

const layerOf = (file: string): string => file.split('/')[0] ?? file;

function isAllowed({ from, to, types }: Import): boolean {
  const layer = layerOf(from);
  const allowed = MAY_IMPORT.get(layer);
  if (!allowed || allowed.includes(layerOf(to))) return true;
  return types && to === MAY_IMPORT_TYPES.get(layer);
}

/** A folder and those in it count as one. */
const isWithin = (folder: string, other: string): boolean => `${folder}/`.startsWith(`${other}/`);

type Edges = ReadonlyMap<string, ReadonlySet<string>>;

/** Which files, or which folders, import which others. */
function edgesOf(imports: readonly Import[], nameOf: (file: string) => string): Edges {
  const edges = new Map<string, Set<string>>();
  for (const { from, to } of imports) {
    const [here, there] = [nameOf(from), nameOf(to)];
    if (!isWithin(here, there) && !isWithin(there, here))
      edges.set(here, (edges.get(here) ?? new Set()).add(there));
  }
  return edges;
}

/** Files or folders that import each other, directly or by way of others, as `a -> b -> a`; null if there are none. */
function findCircle(edges: Edges): string | null {
  const visited = new Set<string>();
  const visit = (name: string, path: readonly string[]): string | null => {
    if (path.includes(name)) return [...path.slice(path.indexOf(name)), name].join(' -> ');
    if (visited.has(name)) return null;
    for (const next of edges.get(name) ?? []) {
      const circle = visit(next, [...path, name]);
      if (circle !== null) return circle;
    }
    visited.add(name);
    return null;
  };
  for (const name of edges.keys()) {
    const circle = visit(name, []);
    if (circle !== null) return circle;
  }
  return null;
}

/** The commands that people wait for, and what they load only for a file that needs it. */
const COMMANDS = ['cli/commands/sign.ts', 'cli/commands/verify.ts'];
const LOADED_WHEN_NEEDED =
  /^lib\/(?:zip\/read-zip|xml\/.*)\.ts$|^engine\/formats\/(?!pe\/)[^/]+\/[^/]+-file\.ts$/;

/** The static imports from a file to one that matches, as `a -> b -> c`; null if none leads there. */
function findPath(edges: Edges, from: string, pattern: RegExp): string | null {
  const [paths, seen] = [[[from]], new Set([from])];
  for (let path = paths.shift(); path; path = paths.shift())
    for (const next of edges.get(path.at(-1) ?? '') ?? []) {
      if (pattern.test(next)) return [...path, next].join(' -> ');
      if (!seen.has(next)) paths.push([...path, next]);
      seen.add(next);
    }
  return null;
}

const files = (await readdir(src, { recursive: true })).filter((file) => file.endsWith('.ts')).toSorted();
const imports = (await Promise.all(files.map(importsOf))).flat();
const problems = imports
  .filter((each) => !isAllowed(each))
  .map(
    ({ from, to }) => `src/${from} imports src/${to}, which ${layerOf(from)} may not (docs/architecture.md)`,
  );
for (const nameOf of [dirname, (file: string) => file]) {
  const circle = findCircle(edgesOf(imports, nameOf));
  if (circle !== null) problems.push(`these import each other: ${circle}`);
}
const loaded = edgesOf(
  imports.filter(({ types, dynamic }) => !types && !dynamic),
  (file) => file,
);
for (const command of COMMANDS) {
  const path = findPath(loaded, command, LOADED_WHEN_NEEDED);
  if (path !== null) problems.push(`every run of this command would load what few files need: ${path}`);
}
for (const problem of problems) console.error(problem);
process.exitCode = problems.length > 0 ? 1 : 0;

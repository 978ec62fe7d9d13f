import { basename, join, resolve } from 'node:path';
import { build, transform, type BuildOptions, type Metafile, type TransformOptions } from 'esbuild';

const src = resolve(import.meta.dirname, '..');

/** A package with native code is left where npm put it. */
const EXTERNAL = ['ssh2'];

/** Text in ASCII is read faster than text in UTF-8. */
const OUTPUT = {
  platform: 'node',
  target: 'node20.18',
  charset: 'ascii',
} as const satisfies TransformOptions;

const IN_ONE = {
  absWorkingDir: src,
  bundle: true,
  write: false,
  logLevel: 'warning',
} as const satisfies BuildOptions;

const BUNDLED = {
  ...OUTPUT,
  ...IN_ONE,
  external: EXTERNAL,
  define: { 'import.meta.url': '__url', 'import.meta.dirname': '__dirname' },
} as const satisfies BuildOptions;

/** A module of `src/` with all that it imports, as one CommonJS script. */
export async function compileModule(path: string): Promise<string> {
  const { outputFiles } = await build({
    ...BUNDLED,
    entryPoints: [path],
    format: 'cjs',
    banner: { js: "const __url = require('node:url').pathToFileURL(__filename).href;" },
  });
  return outputFiles[0]?.text ?? '';
}

/** Browsers that keep themselves up to date, as they were in 2023. */
const BROWSERS = ['chrome115', 'edge115', 'firefox115', 'safari16.4'];

/** What ends a script element before its end, or lets it go on behind it. */
const MARKUP = /<\/script|<script|<!--/i;

/** A module of `src/` with all that it imports, as a script that can stand in a page and be read there. */
export async function compileForPage(path: string): Promise<string> {
  const { outputFiles } = await build({
    ...IN_ONE,
    entryPoints: [path],
    format: 'iife',
    platform: 'browser',
    target: BROWSERS,
    charset: 'ascii',
    legalComments: 'none',
  });
  const text = outputFiles[0]?.text ?? '';
  if (MARKUP.test(text)) throw new Error(`${path}: has markup in it, so it cannot stand in a page`);
  return text;
}

/** Modules that begin what is near, with all that they import at once. */
const NEAR = ['main.ts', 'cli/commands/sign.ts', 'engine/keys/pem.ts', 'engine/timestamp/client.ts'];

/** The parts that hold the modules of `NEAR`, and those that they import at once, by path. */
function nearParts({ outputs }: Metafile): Set<string> {
  const near = new Set<string>();
  const add = (path: string): void => {
    if (near.has(path)) return;
    near.add(path);
    for (const { path: imported, kind, external } of outputs[path]?.imports ?? [])
      if (kind === 'import-statement' && !external) add(imported);
  };
  for (const [path, { entryPoint, inputs }] of Object.entries(outputs))
    if (NEAR.some((module) => module === entryPoint || module in inputs)) add(path);
  return near;
}

/**
 * A package in CommonJS that is imported when it is needed would be a part with nothing but a `default`, unlike the same
 * package under Node. A module of ours between the two imports its names.
 */
function checkImports({ outputs }: Metafile): void {
  for (const { imports } of Object.values(outputs))
    for (const { path, kind } of imports) {
      const { entryPoint = '', exports = [] } = outputs[path] ?? {};
      if (kind === 'dynamic-import' && entryPoint.includes('node_modules') && exports.join() === 'default')
        throw new Error(`${entryPoint}: has no names where it is imported when it is needed`);
    }
}

/** A part as text, which begins with the names of the modules in it. */
async function compilePart(name: string, text: string, modules: readonly string[]): Promise<string> {
  const { code } = await transform(text, {
    ...OUTPUT,
    format: 'cjs',
    supported: { 'dynamic-import': false },
  });
  const names = modules.map((module) => `// ${module}\n`).join('');
  return `${JSON.stringify(name)}(exports, require, module, __url) {\n${names}${code}}`;
}

const script = (parts: readonly string[]): string => `({\n${parts.join(',\n')}\n})\n`;

/** The scripts of the whole program; see `program.ts`. */
export async function compileProgram(): Promise<{ near: string; far: string }> {
  const { outputFiles, metafile } = await build({
    ...BUNDLED,
    entryPoints: ['main.ts'],
    format: 'esm',
    // What is imported only when it is needed becomes a part of its own, and so does what several of those share.
    splitting: true,
    metafile: true,
    outdir: 'parts',
  });
  checkImports(metafile);
  const near = nearParts(metafile);
  const texts = { near: [] as string[], far: [] as string[] };
  for (const { path, text } of outputFiles) {
    const name = basename(path);
    const output = join('parts', name);
    const modules = Object.keys(metafile.outputs[output]?.inputs ?? {});
    texts[near.has(output) ? 'near' : 'far'].push(await compilePart(name, text, modules));
  }
  return { near: script(texts.near), far: script(texts.far) };
}

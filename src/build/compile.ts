import { basename, join, resolve } from 'node:path';
import { build, transform, type BuildOptions, type Metafile, type TransformOptions } from 'esbuild';

const src = resolve(import.meta.dirname, '..');

/** Packages with native code are not bundled, nor those that few signers need and that are loaded when used. */
const EXTERNAL = [
  'ssh2',
  'pkcs11js',
  'openpgp',
  '@aws-sdk/client-kms',
  '@azure/identity',
  '@azure/keyvault-keys',
  '@google-cloud/kms',
];

/** ASCII only for speed: it is read faster than UTF-8. */
const OUTPUT = {
  platform: 'node',
  target: 'node20.18',
  charset: 'ascii',
} as const satisfies TransformOptions;

const BUNDLE = {
  absWorkingDir: src,
  bundle: true,
  write: false,
  logLevel: 'warning',
} as const satisfies BuildOptions;

const BUNDLED = {
  ...OUTPUT,
  ...BUNDLE,
  external: EXTERNAL,
  define: { 'import.meta.url': '__url', 'import.meta.dirname': '__dirname' },
} as const satisfies BuildOptions;

/** Compiles a module of `src/` with all its imports into one CommonJS script. */
export async function compileModule(path: string): Promise<string> {
  const { outputFiles } = await build({
    ...BUNDLED,
    entryPoints: [path],
    format: 'cjs',
    banner: { js: "const __url = require('node:url').pathToFileURL(__filename).href;" },
  });
  return outputFiles[0]?.text ?? '';
}

/** The versions of 2023 of browsers that update themselves. */
const BROWSERS = ['chrome115', 'edge115', 'firefox115', 'safari16.4'];

/** Markup that would end a script element early or extend it. */
const MARKUP = /<\/script|<script|<!--/i;

/** Compiles a module of `src/` with all its imports into a readable script that can be embedded in a page. */
export async function compileForPage(path: string): Promise<string> {
  const { outputFiles } = await build({
    ...BUNDLE,
    entryPoints: [path],
    format: 'iife',
    platform: 'browser',
    target: BROWSERS,
    charset: 'ascii',
    legalComments: 'none',
  });
  const text = outputFiles[0]?.text ?? '';
  if (MARKUP.test(text)) throw new Error(`${path}: contains markup, so it cannot be embedded in a page`);
  return text;
}

/** The modules of the near script, besides their static imports. */
const NEAR = ['main.ts', 'cli/commands/sign.ts', 'engine/keys/pem.ts', 'engine/timestamp/client.ts'];

/** The paths of the parts with the modules of `NEAR` and their static imports. */
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
 * Refuses dynamic imports of CommonJS packages: such a part would have only a `default` export, unlike the same package
 * under Node. A module of ours has to be between the two and import the names.
 */
function checkImports({ outputs }: Metafile): void {
  for (const { imports } of Object.values(outputs))
    for (const { path, kind } of imports) {
      const { entryPoint = '', exports = [] } = outputs[path] ?? {};
      if (kind === 'dynamic-import' && entryPoint.includes('node_modules') && exports.join() === 'default')
        throw new Error(`${entryPoint}: its names are missing in a dynamic import`);
    }
}

/** Compiles a part to text that begins with the names of its modules. */
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

export interface CompiledProgram {
  readonly near: string;
  readonly far: string;
  /** The modules in it, as paths relative to `src/`. */
  readonly modules: readonly string[];
}

/** Compiles the program into its two scripts; see `program.ts`. */
export async function compileProgram(): Promise<CompiledProgram> {
  const { outputFiles, metafile } = await build({
    ...BUNDLED,
    entryPoints: ['main.ts'],
    format: 'esm',
    // Dynamic imports become parts of their own, and so do modules that several of them share.
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
  return { near: script(texts.near), far: script(texts.far), modules: Object.keys(metafile.inputs) };
}

import { readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build, type Plugin } from 'esbuild';

/** Names that stand for the parts of `import.meta` in a compiled module: see `inPlace`. */
const META = {
  'import.meta.dirname': '__dirnameOfSource',
  'import.meta.url': '__urlOfSource',
  'import.meta.resolve': '__resolveFromSource',
};

/** Declares the names of `META` for the module at a path, in one line: no line of the module moves. */
function metaOf(path: string): string {
  const url = JSON.stringify(pathToFileURL(path).href);
  return [
    `const __dirnameOfSource = ${JSON.stringify(join(path, '..'))}`,
    `const __urlOfSource = ${url}`,
    'const __meta = import.meta',
    `const __resolveFromSource = (name) => name.startsWith('.') ? new URL(name, ${url}).href : __meta.resolve(name); `,
  ].join('; ');
}

/** Gives each compiled module the `import.meta` of its source, which finds fixtures, documents and programs beside it. */
const inPlace: Plugin = {
  name: 'in-place',
  setup: (esbuild) => {
    esbuild.onLoad({ filter: /\.ts$/, namespace: 'file' }, async ({ path }) => {
      const text = await readFile(path, 'utf8');
      if (!text.includes('import.meta') || path.includes('node_modules')) return undefined;
      return { contents: metaOf(path) + text, loader: 'ts' };
    });
  },
};

/** The module that provides tsx to the processes that a compiled test starts with its own options, for sources. */
const loader = (folder: string): string =>
  `if (!process.argv[1]?.startsWith(${JSON.stringify(folder)})) await import(${JSON.stringify(import.meta.resolve('tsx'))});\n`;

export interface CompiledTests {
  /** In the order of the sources. */
  readonly files: readonly string[];
  /** Options of Node for running them. */
  readonly options: readonly string[];
}

/**
 * Compiles test files with all that they import into an empty folder. Only for speed: to load the modules of a test
 * through tsx takes 0.3 to 1.5 s of processor time for each file, and there are hundreds of files.
 */
export async function compileTests(
  root: string,
  sources: readonly string[],
  folder: string,
): Promise<CompiledTests> {
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'), 'junction');
  await writeFile(join(folder, 'package.json'), '{ "type": "module" }\n');
  await writeFile(join(folder, 'loader.js'), loader(folder));
  await build({
    absWorkingDir: root,
    entryPoints: [...sources],
    outbase: root,
    outdir: folder,
    platform: 'node',
    target: 'node20.18',
    format: 'esm',
    bundle: true,
    splitting: true,
    packages: 'external',
    define: META,
    plugins: [inPlace],
    sourcemap: true,
    sourcesContent: false,
    logLevel: 'warning',
  });
  return {
    files: sources.map((source) => join(folder, source.replace(/\.ts$/, '.js'))),
    options: ['--enable-source-maps', '--import', pathToFileURL(join(folder, 'loader.js')).href],
  };
}

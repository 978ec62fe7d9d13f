import { readFile, stat, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, join } from 'node:path';
import { createZip, type PackFile } from '../lib/zip/create-zip.ts';
import { SignpipeError } from '../lib/errors.ts';
import { withTempFolder } from '../lib/bytes/temp-folder.ts';

/** A program of the sample. */
interface SampleProgram {
  /** Its name in the zip. */
  readonly name: string;
  /** Its npm package and the path in it. */
  readonly origin: string;
  /** Whether it is unsigned, for the demo to sign; the others have their author's signature. */
  readonly ours: boolean;
}

export interface Sample {
  readonly programs: readonly SampleProgram[];
  /** The names of the programs that are ours. */
  readonly ours: readonly string[];
  /** Every name in the zip, text files included. */
  readonly names: readonly string[];
}

/** A realistic name for a release's zip. */
export const SAMPLE_NAME = 'product-1.0-windows64.zip';

const TOP = 'product-1.0-windows64';

interface Source {
  /** An npm package among the development dependencies, which a signer's installation does not need. */
  readonly package: string;
  readonly licence: string;
  /** The path of the licence's text in the package. */
  readonly licenceFile: string;
}

const FASTLIST: Source = { package: 'ps-list', licence: 'MIT', licenceFile: 'license' };
const INNO_SETUP: Source = {
  package: 'innosetup-compiler',
  licence: 'Inno Setup License',
  licenceFile: 'bin/license.txt',
};

/** Real programs of two tool chains, MSVC and Delphi, x64 and x86. */
const PROGRAMS: readonly (readonly [name: string, source: Source, path: string, whose: 'ours' | 'theirs'])[] =
  [
    ['bin/fastlist.exe', FASTLIST, 'vendor/fastlist-0.3.0-x64.exe', 'ours'],
    ['bin/fastlist-x86.exe', FASTLIST, 'vendor/fastlist-0.3.0-x86.exe', 'ours'],
    ['setup/Setup.exe', INNO_SETUP, 'bin/Setup.e32', 'ours'],
    ['setup/ISCrypt.dll', INNO_SETUP, 'bin/ISCrypt.dll', 'ours'],
    // These are signed by Inno Setup's author; the last two have two signatures each, SHA-1 and SHA-256.
    ['third-party/ISCC.exe', INNO_SETUP, 'bin/ISCC.exe', 'theirs'],
    ['third-party/islzma64.exe', INNO_SETUP, 'bin/islzma64.exe', 'theirs'],
    ['third-party/iszlib.dll', INNO_SETUP, 'bin/iszlib.dll', 'theirs'],
  ];

/** Files that are not programs, as in every release. */
const TEXTS: readonly (readonly [name: string, source: Source, path: string])[] = [
  ['setup/Default.isl', INNO_SETUP, 'bin/Default.isl'],
  ['setup/Languages/Dutch.isl', INNO_SETUP, 'bin/Languages/Dutch.isl'],
  ['setup/Languages/German.isl', INNO_SETUP, 'bin/Languages/German.isl'],
];

const README = `A sample release, to try signing.

The programs in bin/ and setup/ count as ours and are not signed yet. Those in third-party/ have their
author's signature, which signing does not change. LICENSES.txt says where each file is from.
`;

const require = createRequire(import.meta.url);

/** The folder of an npm package, in any nesting; some packages do not let Node resolve their files. */
async function packageFolder(name: string): Promise<string> {
  for (const modules of require.resolve.paths(name) ?? []) {
    const folder = join(modules, name);
    if (await stat(join(folder, 'package.json')).catch(() => null)) return folder;
  }
  throw new SignpipeError('local', 'sample-package-missing', `the npm package ${name} is not installed`, {
    hint: 'run the demo in a clone of the project after npm ci, or give your own zip: signpipe demo FILE.zip',
  });
}

async function sourcePath(source: Source, path: string): Promise<string> {
  return join(await packageFolder(source.package), path);
}

/** The path of a small program in its package. */
export const smallProgram = (): Promise<string> => sourcePath(FASTLIST, 'vendor/fastlist-0.3.0-x86.exe');

async function licences(): Promise<string> {
  const lines = [...PROGRAMS, ...TEXTS].map(
    ([name, source, path]) => `${name}\n    npm ${source.package}, ${path} (${source.licence})\n`,
  );
  const texts: string[] = [];
  for (const source of [FASTLIST, INNO_SETUP])
    texts.push(
      `\n==== ${source.package} ====\n\n${await readFile(await sourcePath(source, source.licenceFile), 'utf8')}`,
    );
  return ['Where each file is from; only the names were changed:\n\n', ...lines, ...texts].join('');
}

async function writeText(folder: string, name: string, text: string): Promise<PackFile> {
  const path = join(folder, basename(name));
  // Before 2018, Windows' own editor read only its own line ends.
  await writeFile(path, text.replace(/\r?\n/g, '\r\n'));
  return { path, name };
}

/**
 * Packs a sample release with real Windows programs into the zip `output`. Errors: `sample-package-missing`, and those of `createZip`.
 */
export async function makeSample(output: string): Promise<Sample> {
  return withTempFolder(async (folder) => {
    const files = [
      await writeText(folder, `${TOP}/README.txt`, README),
      await writeText(folder, `${TOP}/LICENSES.txt`, await licences()),
    ];
    for (const [name, source, path] of [...PROGRAMS, ...TEXTS])
      files.push({ path: await sourcePath(source, path), name: `${TOP}/${name}` });
    await createZip(files, output);
    return describeSample(files);
  });
}

function describeSample(files: readonly PackFile[]): Sample {
  const programs = PROGRAMS.map(([name, source, path, whose]) => ({
    name: `${TOP}/${name}`,
    origin: `npm ${source.package}: ${path}`,
    ours: whose === 'ours',
  }));
  const ours = programs.filter((program) => program.ours).map((program) => program.name);
  return { programs, ours, names: files.map((file) => file.name).sort() };
}

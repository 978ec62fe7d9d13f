import { readFile, stat, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, join } from 'node:path';
import { packArchive, type PackFile } from '../lib/zip/create-zip.ts';
import { SignpipeError } from '../lib/errors.ts';
import { withScratch } from '../lib/bytes/temp-folder.ts';

/** One program of the sample. */
export interface SampleProgram {
  /** Its name in the zip. */
  readonly name: string;
  /** Where it comes from: an npm package and the path in it. */
  readonly origin: string;
  readonly licence: string;
  /** Built unsigned, for the demo to sign; the others bear their author's signature already. */
  readonly ours: boolean;
}

export interface Sample {
  readonly programs: readonly SampleProgram[];
  /** The names of those that are ours. */
  readonly ours: readonly string[];
  /** Every name in the zip, text files included. */
  readonly names: readonly string[];
}

/** What a release's zip might be called. */
export const SAMPLE_NAME = 'product-1.0-windows64.zip';

const TOP = 'product-1.0-windows64';

interface Source {
  /** An npm package among the development dependencies: a signer's installation has no use for it. */
  readonly package: string;
  readonly licence: string;
  /** The licence's text, in the package. */
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
    // These have Inno Setup's author's signature; the two below even two of them, SHA-1 and SHA-256.
    ['third-party/ISCC.exe', INNO_SETUP, 'bin/ISCC.exe', 'theirs'],
    ['third-party/islzma64.exe', INNO_SETUP, 'bin/islzma64.exe', 'theirs'],
    ['third-party/iszlib.dll', INNO_SETUP, 'bin/iszlib.dll', 'theirs'],
  ];

/** Files that are no programs, as every release has some. */
const TEXTS: readonly (readonly [name: string, source: Source, path: string])[] = [
  ['setup/Default.isl', INNO_SETUP, 'bin/Default.isl'],
  ['setup/Languages/Dutch.isl', INNO_SETUP, 'bin/Languages/Dutch.isl'],
  ['setup/Languages/German.isl', INNO_SETUP, 'bin/Languages/German.isl'],
];

const README = `A stand-in for a release that came from a build, to try signing on.

Everything in bin/ and setup/ counts as ours, and is not signed yet. What is in third-party/ came
with its author's signature, and a signer that knows its business leaves that alone.
LICENSES.txt says where each file is from.
`;

const require = createRequire(import.meta.url);

/** Where npm put a package, however the trees are nested; some do not let Node resolve their files. */
async function packageFolder(name: string): Promise<string> {
  for (const modules of require.resolve.paths(name) ?? []) {
    const folder = join(modules, name);
    if (await stat(join(folder, 'package.json')).catch(() => null)) return folder;
  }
  throw new SignpipeError('local', 'sample-package-missing', `the npm package ${name} is not installed`, {
    hint: 'run the demo in a clone of the project after npm ci, or name a zip of your own: signpipe demo FILE.zip',
  });
}

async function located(source: Source, path: string): Promise<string> {
  return join(await packageFolder(source.package), path);
}

/** The path of a small program, as its package has it. */
export const smallProgram = (): Promise<string> => located(FASTLIST, 'vendor/fastlist-0.3.0-x86.exe');

async function licences(): Promise<string> {
  const lines = [...PROGRAMS, ...TEXTS].map(
    ([name, source, path]) => `${name}\n    npm ${source.package}, ${path} (${source.licence})\n`,
  );
  const texts: string[] = [];
  for (const source of [FASTLIST, INNO_SETUP])
    texts.push(
      `\n==== ${source.package} ====\n\n${await readFile(await located(source, source.licenceFile), 'utf8')}`,
    );
  return ['Where each file is from, unchanged but for its name:\n\n', ...lines, ...texts].join('');
}

async function written(folder: string, name: string, text: string): Promise<PackFile> {
  const path = join(folder, basename(name));
  // Windows' own editor reads either line ending only since 2018.
  await writeFile(path, text.replace(/\r?\n/g, '\r\n'));
  return { path, name };
}

/**
 * Packs a zip as a release would look, with real Windows programs that other people built, at `output`.
 * Errors: `sample-package-missing`, and those of `packArchive`.
 */
export async function makeSample(output: string): Promise<Sample> {
  return withScratch(async (folder) => {
    const files = [
      await written(folder, `${TOP}/README.txt`, README),
      await written(folder, `${TOP}/LICENSES.txt`, await licences()),
    ];
    for (const [name, source, path] of [...PROGRAMS, ...TEXTS])
      files.push({ path: await located(source, path), name: `${TOP}/${name}` });
    await packArchive(files, output);
    return describeSample(files);
  });
}

function describeSample(files: readonly PackFile[]): Sample {
  const programs = PROGRAMS.map(([name, source, path, whose]) => ({
    name: `${TOP}/${name}`,
    origin: `npm ${source.package}: ${path}`,
    licence: source.licence,
    ours: whose === 'ours',
  }));
  const ours = programs.filter((program) => program.ours).map((program) => program.name);
  return { programs, ours, names: files.map((file) => file.name).sort() };
}

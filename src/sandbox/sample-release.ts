import { copyFile, mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createZip, type PackFile } from '../lib/zip/create-zip.ts';
import { SignpipeError } from '../lib/errors.ts';
import { packageRoot } from '../lib/package-root.ts';
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
  /** An npm package among the development dependencies, which an installation does not have. */
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

/** Where the installed program has a smaller sample: the build copies it there. */
const PACKAGED = fileURLToPath(new URL('dist/sample/', packageRoot));

/** Larger programs are left out of the installed program's sample. */
const PACKAGED_SIZE = 300_000;

/** The path of a file in an npm package, in any nesting, or of its copy; null if the program was installed without it. */
async function findSource({ package: name }: Source, path: string): Promise<string | null> {
  for (const modules of [...(require.resolve.paths(name) ?? []), PACKAGED]) {
    const file = join(modules, name, path);
    if (await stat(file).catch(() => null)) return file;
  }
  return null;
}

async function sourcePath(source: Source, path: string): Promise<string> {
  const file = await findSource(source, path);
  if (file !== null) return file;
  throw new SignpipeError(
    'local',
    'sample-package-missing',
    `${path} of the npm package ${source.package} is not installed`,
    { hint: 'build the program in a clone after npm ci, or give your own zip: signpipe demo FILE.zip' },
  );
}

/** Copies the smaller files of the sample into a folder, for an installation without the packages that they are from. */
export async function copySample(folder: string): Promise<void> {
  const licenceFiles = [FASTLIST, INNO_SETUP].map((source) => [source, source.licenceFile] as const);
  const files = [...PROGRAMS, ...TEXTS].map(([, source, path]) => [source, path] as const);
  for (const [source, path] of [...licenceFiles, ...files]) {
    const from = await sourcePath(source, path);
    if ((await stat(from)).size > PACKAGED_SIZE) continue;
    const to = join(folder, source.package, path);
    await mkdir(dirname(to), { recursive: true });
    await copyFile(from, to);
  }
}

/** The path of a small program in its package. */
export const smallProgram = (): Promise<string> => sourcePath(FASTLIST, 'vendor/fastlist-0.3.0-x86.exe');

async function licences(files: readonly PackFile[]): Promise<string> {
  const names = new Set(files.map((file) => file.name));
  const lines = [...PROGRAMS, ...TEXTS]
    .filter(([name]) => names.has(`${TOP}/${name}`))
    .map(([name, source, path]) => `${name}\n    npm ${source.package}, ${path} (${source.licence})\n`);
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
    const files: PackFile[] = [];
    for (const [name, source, path] of [...PROGRAMS, ...TEXTS]) {
      const file = await findSource(source, path);
      if (file !== null) files.push({ path: file, name: `${TOP}/${name}` });
    }
    const texts = [
      await writeText(folder, `${TOP}/README.txt`, README),
      await writeText(folder, `${TOP}/LICENSES.txt`, await licences(files)),
    ];
    await createZip([...texts, ...files], output);
    return describeSample([...texts, ...files]);
  });
}

function describeSample(files: readonly PackFile[]): Sample {
  const names = new Set(files.map((file) => file.name));
  const programs = PROGRAMS.map(([name, source, path, whose]) => ({
    name: `${TOP}/${name}`,
    origin: `npm ${source.package}: ${path}`,
    ours: whose === 'ours',
  })).filter(({ name }) => names.has(name));
  const ours = programs.filter((program) => program.ours).map((program) => program.name);
  return { programs, ours, names: [...names].sort() };
}

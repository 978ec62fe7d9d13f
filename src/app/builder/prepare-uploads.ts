import { stat } from 'node:fs/promises';
import { basename, extname, join, resolve } from 'node:path';
import { filesOfFolder, createZip } from '../../lib/zip/create-zip.ts';
import { readEnd } from '../../lib/zip/end-of-central-directory.ts';
import { recognize } from '../../engine/formats/recognize.ts';
import { nameProblem } from '../../protocol/control/zipname.ts';
import { hasCode, type SignpipeError, usage, isInvalid } from '../../lib/errors.ts';
import { sha256OfSource } from '../../lib/bytes/hash.ts';
import { withFile, type ByteSource } from '../../lib/bytes/byte-source.ts';
import { plural } from '../../lib/plural.ts';
import type { BuilderSession } from './session.ts';

/** A file ready to be uploaded. */
export interface PreparedUpload {
  /** Its name on the exchange. */
  readonly name: string;
  readonly path: string;
  readonly size: number;
  readonly sha256: string;
}

/** The files to submit. */
interface PreparedUploads {
  readonly uploads: readonly PreparedUpload[];
  /** Whether they were packed into a zip for this upload. */
  readonly packed: boolean;
  /** The number of packed files; 0 if nothing was packed. */
  readonly count: number;
}

type Kind = 'zip' | 'program' | 'other' | 'folder';

async function kindOf(path: string): Promise<Kind> {
  try {
    if ((await stat(path)).isDirectory()) return 'folder';
  } catch (error) {
    if (hasCode(error, 'ENOENT')) throw usage('file-not-found', `${path}: no such file`, { cause: error });
    throw error;
  }
  return withFile(path, async (file) => {
    const kind = await recognize(file);
    if (kind === 'zip') {
      // A truncated zip would be uploaded and requested, and then rejected.
      await readEnd(file);
      return 'zip';
    }
    if (extname(path).toLowerCase() === '.zip') return requireZipEnd(path, file);
    return kind ?? 'other';
  });
}

/** Accepts a zip with other data in front of it, as most unpackers do: the signer then says why it refuses it. */
async function requireZipEnd(path: string, file: ByteSource): Promise<'zip'> {
  try {
    await readEnd(file);
    return 'zip';
  } catch (error) {
    throw isInvalid(error) ? notAZip(path, file.size) : error;
  }
}

/** Refused, since it would be packed into a zip of the same name, with nothing in it to sign. */
const notAZip = (path: string, size: number): SignpipeError =>
  usage(
    'submit-not-a-zip',
    `${path}: is named like a zip but is not one${size === 0 ? ': it is empty' : ''}`,
    { hint: 'was it built or downloaded completely? Give a file of another kind another name' },
  );

function checkName(name: string): string {
  const problem = nameProblem(name);
  if (problem !== null)
    throw usage('name-unusable', `"${name}" cannot be named in a request: it ${problem}`, {
      hint: 'give another name with --as NAME',
    });
  return name;
}

const describe = async (path: string, name: string): Promise<PreparedUpload> =>
  withFile(path, async (file) => ({
    name: checkName(name),
    path,
    size: file.size,
    sha256: await sha256OfSource(file),
  }));

function filesIn(
  paths: readonly string[],
  kinds: readonly Kind[],
): Promise<{ path: string; name: string }[]> {
  const [first = ''] = paths;
  if (paths.length === 1 && kinds[0] === 'folder') return filesOfFolder(first);
  if (kinds.includes('folder'))
    throw usage('folder-among-files', 'give one folder, or files, not both', {
      hint: 'submit the folder that holds them all',
    });
  return Promise.resolve(paths.map((path) => ({ path, name: basename(path) })));
}

/** Packs a folder or loose files into one zip, named after the first of them. */
async function pack(
  paths: readonly string[],
  kinds: readonly Kind[],
  scratch: string,
  name: string | undefined,
): Promise<PreparedUploads> {
  const [first = ''] = paths;
  const stem = basename(resolve(first));
  const zipName = checkName(name ?? `${kinds[0] === 'folder' ? stem : basename(stem, extname(stem))}.zip`);
  const output = join(scratch, 'packed.zip');
  const files = await filesIn(paths, kinds);
  if (files.length === 0)
    throw usage('submit-empty', `${first}: an empty folder`, { hint: 'was it built completely?' });
  await createZip(files, output);
  return { uploads: [await describe(output, zipName)], packed: true, count: files.length };
}

/** How files are named and packed. */
export interface PrepareOptions {
  /** The name under which a single file, or the packed zip, is uploaded. */
  readonly as?: string | undefined;
  /** Whether loose files and folders are packed into a zip; true unless given. */
  readonly pack?: boolean | undefined;
}

/**
 * Prepares the files of a command line for upload: zips and a single program are uploaded as they are; a folder or
 * several loose files are packed into one zip in the folder `scratch`, unless `pack` is false.
 */
export async function prepareUploads(
  paths: readonly string[],
  scratch: string,
  { as, pack: mayPack = true }: PrepareOptions = {},
): Promise<PreparedUploads> {
  const kinds = await Promise.all(paths.map(kindOf));
  if (!mayPack && kinds.includes('folder'))
    throw usage('folder-unpacked', 'a folder cannot be submitted without packing it', {
      hint: 'name its files, or leave out --no-pack',
    });
  const isUnpacked =
    !mayPack || kinds.every((kind) => kind === 'zip') || (paths.length === 1 && kinds[0] === 'program');
  if (!isUnpacked) return pack(paths, kinds, scratch, as);
  if (as !== undefined && paths.length > 1)
    throw usage('one-name-for-several', '--as names one file, but several are submitted');
  const uploads: PreparedUpload[] = [];
  for (const path of paths) uploads.push(await describe(path, as ?? basename(path)));
  const names = new Set(uploads.map(({ name }) => name));
  if (names.size < uploads.length) throw usage('name-twice', 'two of the files have the same name');
  return { uploads, packed: false, count: 0 };
}

/** Says what was packed: the zip, not the files that the command line names, will be signed and downloaded. */
export function sayPacked(
  { say }: Pick<BuilderSession, 'say'>,
  { uploads, packed, count }: PreparedUploads,
): void {
  const [zip] = uploads;
  if (packed && zip)
    say(`packed ${plural(count, 'file')} into ${zip.name} (${zip.size} bytes): the zip is what gets signed`);
}

import type { Stats } from 'node:fs';
import { readdir, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { ZipFile } from 'yazl';
import { hasCode, messageOf, usage } from '../errors.ts';
import { writeStreamAtomically } from '../bytes/atomic-file.ts';
import { requireDistinctPlaces, shown, whyUnsafe } from './entry-paths.ts';

/** A file on this machine and its name in the zip; a name that ends in `/` is an empty folder. */
export interface PackFile {
  readonly path: string;
  readonly name: string;
}

/** Upper bound for the files of a folder. */
const MOST_FILES = 200_000;

interface FileWithStats extends PackFile {
  readonly stats: Stats;
}

/**
 * Packs files into a zip at `output`, with yazl: sorted by name, deflated, UTF-8 names, times and
 * permissions kept. The same files produce the same zip. Refuses names that `readArchive` would refuse, so that a
 * submitted zip is not refused later.
 */
export async function createZip(files: readonly PackFile[], output: string): Promise<void> {
  requireNames(files);
  const items: FileWithStats[] = [];
  for (const file of files) items.push({ ...file, stats: await statOf(file) });
  items.sort((a, b) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)));
  const zip = new ZipFile();
  // yazl reports an unreadable file by an event of its own; this makes the output stream fail.
  const stream = new PassThrough();
  zip.on('error', (error: Error) => stream.destroy(error));
  zip.outputStream.pipe(stream);
  for (const item of items) add(zip, item);
  zip.end();
  try {
    await writeStreamAtomically(output, stream as AsyncIterable<Buffer>);
  } catch (error) {
    throw usage('pack-failed', `${output}: cannot be packed: ${messageOf(error)}`, {
      hint: 'check that the files can be read and do not change meanwhile, and the space on the disk',
      cause: error,
    });
  }
}

function add(zip: ZipFile, { path, name, stats }: FileWithStats): void {
  const options = { mtime: stats.mtime, mode: stats.mode };
  if (name.endsWith('/')) zip.addEmptyDirectory(name, options);
  else zip.addFile(path, name, options);
}

function requireNames(files: readonly PackFile[]): void {
  for (const { name, path } of files) {
    // A reader of the zip would take it for a slash.
    const why = name.includes('\\') ? 'has a backslash in its name' : whyUnsafe(name);
    if (why)
      throw usage('pack-name-unsafe', `${path}: cannot be packed as ${shown(name)}: it ${why}`, {
        hint: 'rename the file',
      });
  }
  requireDistinctPlaces(
    files.map(({ name }) => ({ path: name, directory: name.endsWith('/') })),
    (_code, message) =>
      usage('pack-name-duplicate', `cannot be packed: ${message}`, { hint: 'rename one of the files' }),
  );
}

async function statOf({ path, name }: PackFile): Promise<Stats> {
  let stats: Stats;
  try {
    stats = await stat(path);
  } catch (error) {
    if (hasCode(error, 'ENOENT')) throw usage('file-not-found', `${path}: no such file`, { cause: error });
    throw usage('file-unreadable', `${path}: cannot be read: ${messageOf(error)}`, { cause: error });
  }
  if (name.endsWith('/') ? stats.isDirectory() : stats.isFile()) return stats;
  throw usage('not-a-file', `${path}: not a regular file`, { hint: 'pack files and folders only' });
}

/**
 * The files in a folder and below it, under their names relative to it; empty folders as such. Symbolic
 * links, devices and the like are refused: their meaning would depend on the machine where they are unpacked.
 */
export async function filesOfFolder(folder: string): Promise<PackFile[]> {
  const files: PackFile[] = [];
  await addFiles(await realpath(folder), '', files);
  return files;
}

async function addFiles(folder: string, prefix: string, found: PackFile[]): Promise<void> {
  const names = await readdir(folder, { withFileTypes: true });
  if (names.length === 0 && prefix) found.push({ path: folder, name: prefix });
  for (const each of names) {
    const path = join(folder, each.name);
    const name = `${prefix}${each.name}`;
    if (each.isDirectory()) await addFiles(path, `${name}/`, found);
    else if (each.isFile()) found.push({ path, name });
    else
      throw usage('not-a-file', `${path}: neither a file nor a folder`, {
        hint: 'replace it with what it points to',
      });
    if (found.length > MOST_FILES)
      throw usage('pack-too-many-files', `${folder}: more than ${MOST_FILES} files`, {
        hint: 'submit a zip',
      });
  }
}

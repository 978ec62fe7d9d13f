import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { withTempFolder } from '../../lib/bytes/temp-folder.ts';
import { writeTree, type FileTree, type TreeEntry } from './file-tree.ts';

const run = promisify(execFile);

/** What a Debian package says about itself; see deb-control(5). */
export type ControlFields = Readonly<Record<string, string>>;

export interface DebianPackage {
  readonly control: ControlFields;
  readonly files: FileTree;
  /** Maintainer scripts by name: `postinst`. */
  readonly scripts: ReadonlyMap<string, string>;
}

const contentOf = (entry: TreeEntry): Buffer | null =>
  'linkTo' in entry ? null : Buffer.from(entry.content as string);

/** The file `md5sums`, with which `dpkg --verify` finds changed files. MD5 is what dpkg reads, and protects nothing. */
function md5Sums(files: FileTree): string {
  const lines = [...files].flatMap(([path, entry]) => {
    const content = contentOf(entry);
    return content === null ? [] : [`${createHash('md5').update(content).digest('hex')}  ${path}\n`];
  });
  return lines.toSorted((a, b) => (a.slice(34) < b.slice(34) ? -1 : 1)).join('');
}

/** In KiB, as dpkg-gencontrol counts: each file is rounded up, folders and links count one. */
function installedSize(files: FileTree): number {
  const folders = new Set<string>();
  let size = 0;
  for (const [path, entry] of files) {
    size += Math.ceil((contentOf(entry)?.length ?? 1) / 1024);
    for (let at = path.indexOf('/'); at > 0; at = path.indexOf('/', at + 1)) folders.add(path.slice(0, at));
  }
  return size + folders.size;
}

function controlFile({ control, files }: DebianPackage): string {
  const { Description: description = '', ...fields } = control;
  const all = { ...fields, 'Installed-Size': String(installedSize(files)), Description: description };
  return Object.entries(all)
    .map(([name, value]) => `${name}: ${value.trim()}\n`)
    .join('');
}

/**
 * Writes `NAME_VERSION_ARCHITECTURE.deb` into a folder and returns that name. The same files and `seconds` (the time of all
 * files) make the same bytes.
 */
export function buildDeb(deb: DebianPackage, folder: string, seconds: number): Promise<string> {
  const { Package: name = '', Version: version = '', Architecture: architecture = '' } = deb.control;
  const file = `${name}_${version}_${architecture}.deb`;
  return withTempFolder(async (stage) => {
    const tree: FileTree = new Map(deb.files);
    tree.set('DEBIAN/control', { content: controlFile(deb) });
    tree.set('DEBIAN/md5sums', { content: md5Sums(deb.files) });
    for (const [script, content] of deb.scripts) tree.set(`DEBIAN/${script}`, { content, executable: true });
    await writeTree(tree, stage, seconds);
    const args = ['--root-owner-group', '-Zxz', '--build', stage, join(folder, file)];
    await run('dpkg-deb', args, { env: { ...process.env, SOURCE_DATE_EPOCH: String(seconds) } });
    return file;
  });
}

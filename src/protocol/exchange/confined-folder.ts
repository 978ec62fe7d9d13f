import { constants, existsSync } from 'node:fs';
import { lstat, mkdir, open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { hasCode } from '../../lib/errors.ts';
import { folderIsLink } from './exchange-errors.ts';

/** Linux: opens a folder to name things in it, which needs no permission to list it (open(2)). */
const O_PATH = 0o10000000;
const FOLDER = O_PATH | (constants.O_DIRECTORY ?? 0);
const NOFOLLOW = constants.O_NOFOLLOW ?? 0;

/** Whether names can be used relative to an open folder, as openat(2) does. */
const BOUND = process.platform === 'linux' && existsSync('/proc/self/fd');

/**
 * A folder at or below the root of a shared folder. The root may be a symbolic link, which is the operator's
 * choice; below it no link is followed: the owner of the share could put one there that leads to this machine's
 * own files. On Linux every name is used relative to the open folder, so swapping a folder for a
 * link between check and use changes nothing. Elsewhere each folder is checked and then used by its path:
 * a swap in between goes unnoticed.
 */
export class ConfinedFolder {
  private constructor(
    private readonly path: string,
    private readonly handle: FileHandle | null,
  ) {}

  /**
   * Opens the folder that `segments` name below `root`; `make` creates what is missing of it. Throws
   * `exchange-link` for a link on the way, and the system's ENOENT or ENOTDIR.
   */
  static async open(
    root: string,
    segments: readonly string[],
    { make = false } = {},
  ): Promise<ConfinedFolder> {
    let folder = new ConfinedFolder(root, BOUND ? await open(root, FOLDER) : null);
    for (const [index, segment] of segments.entries()) {
      try {
        if (make) await makeUnlessThere(folder.at(segment));
        folder = await folder.enter(segment, segments.slice(0, index + 1).join('/'));
      } catch (error) {
        await folder.close();
        throw error;
      }
    }
    return folder;
  }

  /** A path for `name` in this folder, for as long as the folder is open. */
  at(name: string): string {
    return join(this.handle ? `/proc/self/fd/${this.handle.fd}` : this.path, name);
  }

  /** Opens the folder `segment` in this one, and closes this one. */
  private async enter(segment: string, name: string): Promise<ConfinedFolder> {
    const stats = await lstat(this.at(segment));
    if (stats.isSymbolicLink()) throw folderIsLink(name);
    const handle = this.handle ? await open(this.at(segment), FOLDER | NOFOLLOW) : null;
    await this.close();
    return new ConfinedFolder(join(this.path, segment), handle);
  }

  /** Opens a file in it for reading. A link is refused with ELOOP, and a pipe is not waited for. */
  async openFile(name: string): Promise<FileHandle> {
    const place = this.at(name);
    // Where the system cannot refuse a link itself.
    if (NOFOLLOW === 0 && (await lstat(place)).isSymbolicLink())
      throw Object.assign(new Error(`${name} is a symbolic link`), { code: 'ELOOP' });
    return open(place, constants.O_RDONLY | NOFOLLOW | (constants.O_NONBLOCK ?? 0));
  }

  async close(): Promise<void> {
    await this.handle?.close();
  }
}

async function makeUnlessThere(path: string): Promise<void> {
  try {
    await mkdir(path);
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) throw error;
  }
}

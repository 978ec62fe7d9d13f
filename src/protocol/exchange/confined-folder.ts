import { constants, existsSync } from 'node:fs';
import { lstat, mkdir, open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { hasCode } from '../../lib/errors.ts';
import { folderIsLink } from './exchange-errors.ts';

/** Linux: opens a folder to name things in it, which needs no permission to list it (open(2)). */
const O_PATH = 0o10000000;
const FOLDER = O_PATH | (constants.O_DIRECTORY ?? 0);
const NOFOLLOW = constants.O_NOFOLLOW ?? 0;

/** Whether names can be used relative to an open folder, as with openat(2). */
const CAN_OPEN_RELATIVE = process.platform === 'linux' && existsSync('/proc/self/fd');

/**
 * A folder at or below the root of a shared folder. The root may be a symbolic link, since the
 * operator configures it; below it no link is followed, since the owner of the share could point one to this
 * machine's own files. On Linux every name is used relative to the open folder, so swapping a folder for a link
 * between check and use has no effect. On other systems each folder is checked and then used by its path: a swap in
 * between is not detected.
 */
export class ConfinedFolder {
  private constructor(
    private readonly path: string,
    private readonly handle: FileHandle | null,
  ) {}

  /**
   * Opens the folder at `segments` below `root`; `make` creates missing folders. Throws `exchange-link` if one of
   * them is a link, and the system's ENOENT or ENOTDIR.
   */
  static async open(
    root: string,
    segments: readonly string[],
    { make = false } = {},
  ): Promise<ConfinedFolder> {
    let folder = new ConfinedFolder(root, CAN_OPEN_RELATIVE ? await open(root, FOLDER) : null);
    for (const [index, segment] of segments.entries()) {
      try {
        if (make) await makeFolder(folder.at(segment));
        folder = await folder.enter(segment, segments.slice(0, index + 1).join('/'));
      } catch (error) {
        await folder.close();
        throw error;
      }
    }
    return folder;
  }

  /** A path of `name` in this folder; valid while the folder is open. */
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

  /** Opens a file in this folder for reading. Throws ELOOP for a link; does not wait for a pipe's writer. */
  async openFile(name: string): Promise<FileHandle> {
    const path = this.at(name);
    // For systems without O_NOFOLLOW.
    if (NOFOLLOW === 0 && (await lstat(path)).isSymbolicLink())
      throw Object.assign(new Error(`${name} is a symbolic link`), { code: 'ELOOP' });
    return open(path, constants.O_RDONLY | NOFOLLOW | (constants.O_NONBLOCK ?? 0));
  }

  async close(): Promise<void> {
    await this.handle?.close();
  }
}

async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path);
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) throw error;
  }
}

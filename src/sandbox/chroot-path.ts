import { lstat, realpath } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { hasCode, invalid, notAllowed } from '../lib/errors.ts';

/** The longest path that is accepted, in characters. */
const PATH_LIMIT = 4096;

/**
 * A folder that clients see as the whole file system. `..` stops at its top, and no symbolic link in it is followed:
 * every path that a client names lies inside or is refused.
 */
export class Chroot {
  private constructor(private readonly root: string) {}

  static async at(folder: string): Promise<Chroot> {
    return new Chroot(await realpath(folder));
  }

  /** The path as a client sees it: absolute, without `.`, `..` or double slashes. */
  normalize(path: string): string {
    if (path.length > PATH_LIMIT || path.includes('\0'))
      throw invalid('path-invalid', 'a path is too long, or holds a zero byte');
    const plain = posix.normalize(`/${path}`);
    return plain.length > 1 && plain.endsWith('/') ? plain.slice(0, -1) : plain;
  }

  /**
   * The path on this machine, whether or not it exists. Throws `path-symlink` if a part of it is a symbolic link;
   * `linkItself` permits that for the last part, to examine or remove the link.
   */
  async locate(path: string, { linkItself = false } = {}): Promise<string> {
    const segments = this.normalize(path).split('/').filter(Boolean);
    let at = this.root;
    for (const [i, segment] of segments.entries()) {
      at = join(at, segment);
      const last = i === segments.length - 1;
      if (!(last && linkItself) && (await isLink(at)))
        throw notAllowed('path-symlink', `${this.normalize(path)}: symbolic links are not followed here`);
    }
    return at;
  }
}

async function isLink(path: string): Promise<boolean> {
  try {
    return (await lstat(path)).isSymbolicLink();
  } catch (error) {
    // A missing file is reported when it is used.
    if (hasCode(error, 'ENOENT') || hasCode(error, 'ENOTDIR')) return false;
    throw error;
  }
}

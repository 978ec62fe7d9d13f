import { whyUnsafe } from '../../lib/zip/entry-paths.ts';

/*
 * What Windows makes of the names of files: which ones it can have, and which ones it takes for the same.
 */

/** Characters that no file name on Windows has; the backslash separates folders. */
const NOT_IN_NAMES = /[<>:"/|?*]/;

/** Why no file on Windows can have this path below its folder ("it has …"); null if one can. */
export function faultOfPath(path: string): string | null {
  if (path.includes('\ufffd')) return 'has a name that is not valid UTF-8';
  return NOT_IN_NAMES.test(path) ? 'has a name that no file on Windows can have' : whyUnsafe(path);
}

/**
 * A path as Windows compares it: each UTF-16 code unit by itself, in upper case, of which NTFS has a table ($UpCase). A letter beyond
 * ASCII never equals one of ASCII. Unicode knows a few more upper-case letters than that table, so that `µ` and `μ` count as the same.
 */
export const folded = (path: string): string =>
  path
    .replaceAll(/[^\0-\x7f]/g, (unit) => {
      const upper = unit.toUpperCase();
      return upper.length === 1 && upper > '\x7f' ? upper : unit;
    })
    .replaceAll(/[a-z]+/g, (letters) => letters.toUpperCase());

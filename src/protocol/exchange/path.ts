import { randomBytes } from 'node:crypto';
import { posix } from 'node:path';
import { invalid } from '../../lib/errors.ts';

const SEGMENT = /^[A-Za-z0-9._+@=-]+$/;
const LIMIT = 1024;

/** Whether a path is allowed below the exchange's root: the grammar of zipname, with or without a folder. */
function isInside(path: string): boolean {
  return (
    path.length <= LIMIT &&
    path
      .split('/')
      .every(
        (segment) => SEGMENT.test(segment) && segment !== '.' && segment !== '..' && !segment.startsWith('-'),
      )
  );
}

/**
 * Throws `exchange-path-outside` unless `path` is relative and stays below the root. Names were checked when the
 * request was read; the exchange checks them again because it opens them.
 */
export function requireInside(path: string): void {
  if (isInside(path)) return;
  throw invalid(
    'exchange-path-outside',
    `${JSON.stringify(path.slice(0, 100))}: not a path inside the exchange`,
    { hint: 'use names of letters, digits and ._+@=- with / between them, none of them . or ..' },
  );
}

/** Joins a relative path to a remote root. */
export function remotePath(root: string, path: string): string {
  requireInside(path);
  return posix.join(root, path);
}

/** Random hex digits that make a temporary name hard to guess for others who use the folder. */
export const temporaryToken = (): string => randomBytes(6).toString('hex');

/** A hidden name beside a remote target. */
export function temporaryName(target: string, token = temporaryToken()): string {
  const name = posix.basename(target).slice(0, 200); // File systems allow 255 bytes.
  return posix.join(posix.dirname(target), `.${name}.${token}.part`);
}

/** The two hidden names in a folder between which a rehearsal renames a file. */
export const rehearsalNames = (folder: string, token = temporaryToken()): [first: string, second: string] => [
  temporaryName(posix.join(folder, 'signpipe.tries'), token),
  temporaryName(posix.join(folder, 'signpipe.tried'), token),
];

/** The folders between the root and a path's last segment, outermost first. */
export function parentFolders(root: string, path: string): string[] {
  const segments = path.split('/').slice(0, -1);
  return segments.map((_, index) => posix.join(root, ...segments.slice(0, index + 1)));
}

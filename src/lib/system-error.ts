import { SignpipeError, type ErrorKind } from './errors.ts';

/** The code of a Node system error, such as `ENOSPC` of a `write`; undefined for any other error. */
export function systemCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' && /^E[A-Z0-9]{2,20}$/.test(error.code) ? error.code : undefined;
}

interface ErrorMeaning {
  readonly code: string;
  readonly kind: ErrorKind;
  readonly text: string;
  readonly hint: string;
}

const FULL: ErrorMeaning = {
  code: 'disk-full',
  kind: 'local',
  text: 'the disk is full',
  hint: 'free some space, or write to another disk; TMPDIR names the folder of temporary files',
};
const FORBIDDEN: ErrorMeaning = {
  code: 'permission-denied',
  kind: 'usage',
  text: 'this account may not do that',
  hint: 'check owner and permissions, of the folder too, and that the file system is not mounted read-only',
};
const MISSING: ErrorMeaning = {
  code: 'path-not-found',
  kind: 'usage',
  text: 'no such file or folder',
  hint: 'check the path, or make the folder',
};
const UNUSABLE: ErrorMeaning = {
  code: 'path-unusable',
  kind: 'usage',
  text: 'the path cannot be used',
  hint: 'check the path: its length, and what exists under that name already',
};
const OTHER: ErrorMeaning = {
  code: 'system-error',
  kind: 'local',
  text: 'the operating system refuses',
  hint: 'check the logs of the operating system',
};

const MEANINGS: ReadonlyMap<string, ErrorMeaning> = new Map([
  ...['ENOSPC', 'EDQUOT', 'EFBIG'].map((code): [string, ErrorMeaning] => [code, FULL]),
  ...['EACCES', 'EPERM', 'EROFS', 'ETXTBSY'].map((code): [string, ErrorMeaning] => [code, FORBIDDEN]),
  ...['ENOENT', 'ENOTDIR'].map((code): [string, ErrorMeaning] => [code, MISSING]),
  ...['EISDIR', 'EEXIST', 'ELOOP', 'ENAMETOOLONG', 'ENOTEMPTY', 'EXDEV', 'ENXIO'].map(
    (code): [string, ErrorMeaning] => [code, UNUSABLE],
  ),
]);

const pathOf = (error: Error): string | undefined =>
  'path' in error && typeof error.path === 'string' ? error.path : undefined;

/**
 * Maps an error of the operating system to one of our own: a full disk or a missing permission is not a bug and needs no
 * stack trace. `what` is the file for the message; without it, the message names the error's own path. Null for errors
 * that do not come from the operating system.
 *
 * Codes: `disk-full` and `system-error` (local); `permission-denied`, `path-not-found`, `path-unusable` (usage).
 */
export function fromSystemError(error: unknown, what?: string): SignpipeError | null {
  const errno = systemCode(error);
  if (errno === undefined || !(error instanceof Error)) return null;
  const { code, kind, text, hint } = MEANINGS.get(errno) ?? OTHER;
  const name = what ?? pathOf(error);
  const message = `${name === undefined ? '' : `${name}: `}${text} (${error.message})`;
  return new SignpipeError(kind, code, message, { hint, cause: error });
}

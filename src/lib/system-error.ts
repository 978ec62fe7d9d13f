import { SignpipeError, type ErrorKind } from './errors.ts';

/** The code of a Node system error, such as `ENOSPC` of a `write`; undefined for any other error. */
export function systemCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' && /^E[A-Z0-9]{2,20}$/.test(error.code) ? error.code : undefined;
}

interface Meaning {
  readonly code: string;
  readonly kind: ErrorKind;
  readonly text: string;
  readonly hint: string;
}

const FULL: Meaning = {
  code: 'disk-full',
  kind: 'local',
  text: 'the disk is full',
  hint: 'free some space, or write to another disk; TMPDIR names the folder of temporary files',
};
const FORBIDDEN: Meaning = {
  code: 'permission-denied',
  kind: 'usage',
  text: 'this account may not do that',
  hint: 'check owner and permissions, of the folder too, and that the file system is not mounted read-only',
};
const MISSING: Meaning = {
  code: 'path-not-found',
  kind: 'usage',
  text: 'no such file or folder',
  hint: 'check the path, or make the folder',
};
const UNUSABLE: Meaning = {
  code: 'path-unusable',
  kind: 'usage',
  text: 'the path cannot be used',
  hint: 'check the path: its length, and what stands under that name already',
};
const OTHER: Meaning = {
  code: 'system-error',
  kind: 'local',
  text: 'the operating system refuses',
  hint: 'see what the operating system says of this machine',
};

const MEANINGS: ReadonlyMap<string, Meaning> = new Map([
  ...['ENOSPC', 'EDQUOT', 'EFBIG'].map((code): [string, Meaning] => [code, FULL]),
  ...['EACCES', 'EPERM', 'EROFS', 'ETXTBSY'].map((code): [string, Meaning] => [code, FORBIDDEN]),
  ...['ENOENT', 'ENOTDIR'].map((code): [string, Meaning] => [code, MISSING]),
  ...['EISDIR', 'EEXIST', 'ELOOP', 'ENAMETOOLONG', 'ENOTEMPTY', 'EXDEV', 'ENXIO'].map(
    (code): [string, Meaning] => [code, UNUSABLE],
  ),
]);

const pathOf = (error: Error): string | undefined =>
  'path' in error && typeof error.path === 'string' ? error.path : undefined;

/**
 * What the operating system refused, as an error like all others: a full disk or a missing permission is no bug of
 * ours and has no stack trace. `what` is the file for the message, unless the error itself names one. Null for
 * errors that do not come from the operating system.
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

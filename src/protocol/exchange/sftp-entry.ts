import type { Stats } from 'ssh2';

/** What a server reports of a name. In SFTP version 3 all of it is optional (draft-ietf-secsh-filexfer-02, section 5). */
export interface SftpEntry {
  readonly kind: 'file' | 'folder' | 'other';
  /** Bytes; -1 if the server does not say. */
  readonly size: number;
  /** By the server's clock, in seconds since 1970; 0 if the server does not say. */
  readonly mtime: number;
}

/** The bits of the permissions that say what kind of file it is (POSIX `S_IFMT`). */
const KIND_BITS = 0o170000;

/** Whether attributes distinguish a file from a folder: by permissions, with the bits for the kind. */
export const tellsKind = ({ mode }: Stats): boolean => mode !== undefined && (mode & KIND_BITS) !== 0;

/** Whether attributes hold all that is asked of an open file. */
export const isComplete = (stats: Stats): boolean =>
  tellsKind(stats) && stats.size !== undefined && stats.mtime !== undefined;

/** Reads attributes; `unknown` is the kind if they do not say. */
export function entryOf(stats: Stats, unknown: SftpEntry['kind']): SftpEntry {
  const { size = -1, mtime = 0 } = stats as Partial<Stats>;
  const reported = stats.isFile() ? 'file' : stats.isDirectory() ? 'folder' : 'other';
  return { kind: tellsKind(stats) ? reported : unknown, size, mtime };
}

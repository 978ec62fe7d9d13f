import { lstat, open, rename, rm, stat, writeFile, type FileHandle } from 'node:fs/promises';
import { posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import { hasCode, messageOf, SignpipeError, unavailable, usage } from '../../lib/errors.ts';
import { syncFolder } from '../../lib/bytes/atomic-file.ts';
import { readFully, writeFully } from '../../lib/bytes/read-write-fully.ts';
import { sha256OfStream } from '../../lib/bytes/hash.ts';
import type { ByteSource } from '../../lib/bytes/byte-source.ts';
import type {
  DeliverOptions,
  Exchange,
  FetchResult,
  FetchOptions,
  OpenFile,
  Rehearsal,
  RehearseOptions,
  ExpectedFile,
  FileAttributes,
  ListedEntry,
  OnProgress,
} from './exchange.ts';
import * as failures from './exchange-errors.ts';
import { ConfinedFolder } from './confined-folder.ts';
import { rehearsalNames, requireInside, temporaryName } from './path.ts';
import { requestPool, readBlocksInOrder, writeBehind } from './pipelined-io.ts';
import { listFolder, removeEmptyFolder, removeInFolder } from './removal.ts';
import { RemoteByteSource } from './remote-source.ts';
import { blocksToSend, receive, whyDifferent } from './local-file-transfer.ts';

/** A regular file that is open on this machine. */
interface OpenLocalFile {
  readonly handle: FileHandle;
  readonly size: number;
  readonly modified: number;
}

/** Fills `target` from an open file; throws `exchange-file-changed` if the file ends before. */
async function fill(handle: FileHandle, target: Buffer, offset: number, name: string): Promise<void> {
  if (!(await readFully(handle, target, offset))) throw failures.fileChanged(name);
}

async function readExactly(
  handle: FileHandle,
  offset: number,
  length: number,
  name: string,
): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(length);
  await fill(handle, buffer, offset, name);
  return buffer;
}

function folderOf(url: string): string {
  try {
    return fileURLToPath(url);
  } catch (error) {
    throw usage('exchange-url-invalid', `exchange.url: ${messageOf(error)}`, {
      cause: error,
      hint: 'write a shared folder as file:///absolute/path',
    });
  }
}

/** Writes, renames and removes a small file. */
async function tryIn(folder: ConfinedFolder, temporary: string | undefined): Promise<void> {
  const [first, second] = rehearsalNames('', temporary).map((name) => folder.at(name)) as [string, string];
  const remove = (): Promise<unknown> =>
    Promise.all([rm(first, { force: true }), rm(second, { force: true })]);
  await remove(); // Leftovers of a crash; usually none.
  try {
    await writeFile(first, 'signpipe tries this folder\n', { flag: 'wx' });
    await rename(first, second);
  } finally {
    await remove();
  }
}

/** The exchange as a folder on this machine or on a mounted share. */
export class FolderExchange implements Exchange {
  private readonly root: string;

  constructor(url: string) {
    this.root = folderOf(url);
  }

  async connect(): Promise<this> {
    await this.requireRoot();
    return this;
  }

  async close(): Promise<void> {}

  async stat(path: string): Promise<FileAttributes | null> {
    try {
      const stats = await this.inFolder(path, (folder, name) => lstat(folder.at(name)));
      if (stats.isSymbolicLink()) throw failures.fileIsLink(path);
      if (!stats.isFile()) throw failures.notAFile(path);
      return { size: stats.size, modified: stats.mtime };
    } catch (error) {
      return failures.nullIfMissing(await this.explain(error, path));
    }
  }

  async fetch(path: string, destination: string, { limit, onProgress }: FetchOptions): Promise<FetchResult> {
    const { handle, size, modified } = await this.openRegular(path);
    try {
      if (size > limit) throw failures.tooLarge(path, size, limit);
      const content = readBlocksInOrder(0, size, (target, offset) => fill(handle, target, offset, path));
      const confirm = async (): Promise<void> => {
        const after = await handle.stat();
        if (after.size !== size || after.mtimeMs !== modified) throw failures.fileChanged(path);
      };
      return await receive({ name: path, size, content, confirm }, destination, onProgress);
    } catch (error) {
      throw await this.explain(error, path);
    } finally {
      await handle.close();
    }
  }

  async openRead(path: string): Promise<OpenFile> {
    const { handle, size, modified } = await this.openRegular(path);
    const file = { size, modified: new Date(modified) };
    const read = (offset: number, length: number): Promise<Buffer> =>
      readExactly(handle, offset, length, path).catch(async (error: unknown) => {
        throw await this.explain(error, path);
      });
    return new RemoteByteSource(path, file, read, () => handle.close());
  }

  async deliver(content: ByteSource, path: string, options: DeliverOptions): Promise<void> {
    const hidden = posix.basename(temporaryName(path, options.temporary));
    await this.requireRoot();
    const write = async (folder: ConfinedFolder, name: string): Promise<void> => {
      const temporary = folder.at(hidden);
      try {
        // Leftovers of a crash during an earlier delivery; usually none.
        if (options.temporary !== undefined) await rm(temporary, { force: true });
        await this.write(content, path, temporary, options);
        await rename(temporary, folder.at(name));
        await syncFolder(folder.at('.'));
      } catch (error) {
        await rm(temporary, { force: true }).catch(() => {});
        throw error;
      }
    };
    try {
      await this.inFolder(path, write, { make: true });
    } catch (error) {
      throw failures.whileDelivering(path, await this.explain(error, path));
    }
  }

  async rehearse(path: string, { make, temporary }: RehearseOptions): Promise<Rehearsal | null> {
    await this.requireRoot();
    try {
      await this.inFolder(`${path}/x`, (folder) => tryIn(folder, temporary), { make });
      return { written: true, deletes: true, remarks: [], left: null };
    } catch (error) {
      if (!make && hasCode(error, 'ENOENT')) return null;
      if (hasCode(error, 'ENOTDIR')) throw failures.notAFolder(path, error);
      throw failures.whileDelivering(path, await this.explain(error, path));
    }
  }

  async list(path: string, limit: number): Promise<readonly ListedEntry[]> {
    await this.requireRoot();
    try {
      return await this.inFolder(`${path}/x`, (folder) => listFolder(folder, limit));
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return [];
      throw await this.explain(error, path);
    }
  }

  removeFile(path: string, expected: ExpectedFile, onProgress?: OnProgress): Promise<boolean> {
    return this.atPath(path, (folder, name) => removeInFolder(folder, name, expected, onProgress));
  }

  removeFolder(path: string): Promise<boolean> {
    return this.atPath(path, removeEmptyFolder);
  }

  /** Does some work at a path of the exchange, and explains its errors. */
  private async atPath<T>(
    path: string,
    work: (folder: ConfinedFolder, name: string) => Promise<T>,
  ): Promise<T> {
    await this.requireRoot();
    try {
      return await this.inFolder(path, work);
    } catch (error) {
      throw await this.explain(error, path);
    }
  }

  // eslint-disable-next-line require-await -- the interface is asynchronous
  async canAssemble(): Promise<boolean> {
    return false; // Without a network connection, reading and writing the whole file costs little.
  }

  assemble(_from: string, path: string): Promise<void> {
    return Promise.reject(failures.noCopy(path));
  }

  /** Opens the folder of a path for `use`, with the last segment of the path. */
  private async inFolder<T>(
    path: string,
    use: (folder: ConfinedFolder, name: string) => Promise<T>,
    options: { make?: boolean } = {},
  ): Promise<T> {
    requireInside(path);
    const segments = path.split('/');
    const folder = await ConfinedFolder.open(this.root, segments.slice(0, -1), options);
    try {
      return await use(folder, segments.at(-1) ?? '');
    } finally {
      await folder.close();
    }
  }

  /** Opens a regular file, without waiting if it is a pipe. */
  private async openRegular(path: string): Promise<OpenLocalFile> {
    let handle: FileHandle | undefined;
    try {
      handle = await this.inFolder(path, (folder, name) => folder.openFile(name));
      const stats = await handle.stat();
      if (!stats.isFile()) throw failures.notAFile(path);
      return { handle, size: stats.size, modified: stats.mtimeMs };
    } catch (error) {
      await handle?.close();
      throw await this.explain(error, path);
    }
  }

  private async write(
    content: ByteSource,
    path: string,
    temporary: string,
    options: DeliverOptions,
  ): Promise<void> {
    const handle = await open(temporary, 'wx+');
    try {
      const pool = requestPool();
      const write = (offset: number, bytes: Buffer): Promise<void> => writeFully(handle, bytes, offset);
      await writeBehind(blocksToSend(content, options, { pool }), write, { pool });
      await handle.sync();
      const { size } = await handle.stat();
      if (size !== options.size) throw failures.wrongSize(path, size, options.size);
      const stored = readBlocksInOrder(0, size, (target, offset) => fill(handle, target, offset, path));
      const actual = await sha256OfStream(stored);
      if (actual !== options.sha256) throw await whyDifferent(content, path, options);
    } finally {
      await handle.close();
    }
  }

  private async requireRoot(): Promise<void> {
    const root = await stat(this.root).catch((error: unknown) => {
      throw failures.folderMissing(this.root, error);
    });
    if (!root.isDirectory()) throw failures.folderMissing(this.root);
  }

  private async explain(thrown: unknown, path: string): Promise<SignpipeError> {
    if (thrown instanceof SignpipeError) return thrown;
    if (hasCode(thrown, 'ELOOP')) return failures.fileIsLink(path, thrown);
    if (hasCode(thrown, 'EACCES') || hasCode(thrown, 'EPERM')) return failures.permissionDenied(path, thrown);
    // A folder cannot be read, a socket cannot be opened.
    if (hasCode(thrown, 'EISDIR') || hasCode(thrown, 'ENXIO')) return failures.notAFile(path, thrown);
    if (!hasCode(thrown, 'ENOENT') && !hasCode(thrown, 'ENOTDIR'))
      return failures.refused(path, messageOf(thrown), thrown);
    return this.requireRoot().then(
      () => failures.fileMissing(path, thrown),
      (missing: unknown) =>
        missing instanceof SignpipeError ? missing : unavailable('exchange-refused', path),
    );
  }
}

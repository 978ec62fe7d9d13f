import { join } from 'node:path';
import type { RequestedFile } from '../../../protocol/control/zipname.ts';
import { invalid } from '../../../lib/errors.ts';
import { RemoteFile } from '../../../protocol/exchange/remote-file.ts';
import { withProgressBar } from '../../../lib/progress.ts';
import { retry } from '../context/retry.ts';
import type { SignerContext } from '../context/signer-context.ts';

/** A file of a request that was fetched into the work folder as a whole. */
export interface WholeFile {
  readonly requested: RequestedFile;
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  /** Lower-case hex. */
  readonly sha256: string;
  /** Its time by the exchange's clock; null if the exchange is not to assemble the signed file from it. */
  readonly modified: Date | null;
}

/** A file of a request that stays on the exchange; only parts of it are fetched into the work folder. */
export interface SparseFile {
  readonly requested: RequestedFile;
  readonly path: string;
  readonly remote: RemoteFile;
}

/** One file of a request, ready to be signed. */
export type FetchedFile = WholeFile | SparseFile;

/** The path of a file of a request on the exchange. */
export const incoming = (context: SignerContext, name: string): string =>
  `${context.config.exchange.incoming}/${name}`;

function checkPin(file: RequestedFile, sha256: string): void {
  if (file.sha256 === undefined || file.sha256 === sha256) return;
  throw invalid(
    'digest-differs',
    `${file.name}: SHA-256 of what lies on the exchange is ${sha256}, zipname says ${file.sha256}`,
    {
      hint: 'upload the very bytes that were pinned, or commit their digest',
    },
  );
}

/** Fetches a whole file and checks its pin. It is not flushed to disk: until it is signed, it can be fetched again. */
export async function fetchWhole(
  context: SignerContext,
  requested: RequestedFile,
  path: string,
): Promise<WholeFile> {
  const { name } = requested;
  const limit = context.config.limits.archive;
  const fetchedFile = await retry(context, `fetching ${name}`, () =>
    withProgressBar(context.progress, `fetch ${name}`, 'bytes', (onProgress) =>
      context.exchange.fetch(incoming(context, name), path, { limit, onProgress, flushed: false }),
    ),
  );
  checkPin(requested, fetchedFile.sha256);
  context.log.info({ file: name, bytes: fetchedFile.size, sha256: fetchedFile.sha256 }, `fetched ${name}`);
  return { requested, path, ...fetchedFile, modified: await modifiedOf(context, name) };
}

async function modifiedOf(context: SignerContext, name: string): Promise<Date | null> {
  if (context.config.exchange.sparse === 'never') return null;
  return retry(context, `reading the time of ${name}`, async () => {
    if (!(await context.exchange.canAssemble())) return null;
    return (await context.exchange.stat(incoming(context, name)))?.modified ?? null;
  });
}

/**
 * Opens a file on the exchange if only some entries of it have to be read: they are pinned one by one, the file as a
 * whole is not, and the exchange can assemble the signed file. Null if the whole file must be fetched.
 */
async function openRemote(
  context: SignerContext,
  { name, sha256, entries = [] }: RequestedFile,
  cache: string,
): Promise<RemoteFile | null> {
  if (entries.length === 0 || sha256 !== undefined || context.config.exchange.sparse === 'never') return null;
  const retryReading = <T>(action: () => Promise<T>): Promise<T> => retry(context, `reading ${name}`, action);
  if (await retryReading(() => context.exchange.canAssemble()))
    return RemoteFile.open(context.exchange, incoming(context, name), { cache, retry: retryReading, name });
  context.log.info({ file: name }, `${name} is moved as a whole: the exchange does not copy within itself`);
  return null;
}

/**
 * Fetches every file of a request, or opens it on the exchange; nothing is signed before all are there. With `whole`,
 * none is opened there. The caller closes them with `closeFiles`.
 */
export async function fetchFiles(
  context: SignerContext,
  files: readonly RequestedFile[],
  { folder, whole }: { readonly folder: string; readonly whole: boolean },
): Promise<FetchedFile[]> {
  const fetched: FetchedFile[] = [];
  try {
    for (const [index, requested] of files.entries()) {
      const path = join(folder, `in-${index}`);
      const remote = whole ? null : await openRemote(context, requested, path);
      fetched.push(remote ? { requested, path, remote } : await fetchWhole(context, requested, path));
    }
    return fetched;
  } catch (error) {
    await closeFiles(fetched);
    throw error;
  }
}

/** Closes the files that were opened on the exchange. */
export async function closeFiles(fetched: readonly FetchedFile[]): Promise<void> {
  for (const file of fetched) if ('remote' in file) await file.remote.close();
}

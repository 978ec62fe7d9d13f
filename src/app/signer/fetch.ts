import { join } from 'node:path';
import type { RequestedFile } from '../../protocol/control/zipname.ts';
import { invalid } from '../../lib/errors.ts';
import { RemoteFile } from '../../protocol/exchange/remote-file.ts';
import { underBar } from '../../lib/progress.ts';
import { retry } from './retry.ts';
import type { SignerContext } from './signer-context.ts';

/** One file of a request, in the work folder. */
export interface WholeFile {
  readonly requested: RequestedFile;
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  /** Lower-case hex. */
  readonly sha256: string;
  /** Its time by the exchange's clock, where the exchange may make the signed file out of it. */
  readonly modified: Date | null;
}

/** One file of a request that stays where it is, but for what is fetched of it into the work folder. */
export interface DistantFile {
  readonly requested: RequestedFile;
  readonly path: string;
  readonly far: RemoteFile;
}

/** One file of a request, ready to be signed. */
export type FetchedFile = WholeFile | DistantFile;

/** Where a file of a request lies on the exchange. */
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

/** Fetches a file as a whole and holds it to its pin. It is not flushed: until it is signed, it can be fetched again. */
export async function fetchWhole(
  context: SignerContext,
  requested: RequestedFile,
  path: string,
): Promise<WholeFile> {
  const { name } = requested;
  const limit = context.config.limits.archive;
  const got = await retry(context, `fetching ${name}`, () =>
    underBar(context.progress, `fetch ${name}`, 'bytes', (onProgress) =>
      context.exchange.fetch(incoming(context, name), path, { limit, onProgress, flushed: false }),
    ),
  );
  checkPin(requested, got.sha256);
  context.log.info({ file: name, bytes: got.size, sha256: got.sha256 }, `fetched ${name}`);
  return { requested, path, ...got, modified: await modifiedOf(context, name) };
}

async function modifiedOf(context: SignerContext, name: string): Promise<Date | null> {
  if (context.config.exchange.sparse === 'never') return null;
  return retry(context, `looking at ${name}`, async () => {
    if (!(await context.exchange.canAssemble())) return null;
    return (await context.exchange.stat(incoming(context, name)))?.modified ?? null;
  });
}

/**
 * Opens a file where it lies, when nothing but some entries of it needs to be seen: they are pinned one
 * by one and the file as a whole is not, and the exchange can put the signed file together by itself.
 * Null when the whole of it must be fetched.
 */
async function openFar(
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
 * Fetches every file of a request, or opens it where it lies; nothing is signed before all are there.
 * Who calls this closes what was opened.
 */
export async function fetchFiles(
  context: SignerContext,
  files: readonly RequestedFile[],
  folder: string,
): Promise<FetchedFile[]> {
  const fetched: FetchedFile[] = [];
  try {
    for (const [index, requested] of files.entries()) {
      const path = join(folder, `in-${index}`);
      const far = await openFar(context, requested, path);
      fetched.push(far ? { requested, path, far } : await fetchWhole(context, requested, path));
    }
    return fetched;
  } catch (error) {
    await closeFiles(fetched);
    throw error;
  }
}

/** Lets go of files that were opened where they lie. */
export async function closeFiles(fetched: readonly FetchedFile[]): Promise<void> {
  for (const file of fetched) if ('far' in file) await file.far.close();
}

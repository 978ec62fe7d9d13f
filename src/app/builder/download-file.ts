import { mkdir, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import pRetry from 'p-retry';
import { invalid, SignpipeError } from '../../lib/errors.ts';
import { asTemporary } from '../../lib/bytes/temp-files.ts';
import type { FetchOptions, FetchResult } from '../../protocol/exchange/exchange.ts';
import type { BuilderSession } from './session.ts';

/** `signed-file-differs`: a file is not the one that the receipt names. */
export const differs = (path: string, why: string): SignpipeError =>
  invalid('signed-file-differs', `${path}: ${why}`, {
    hint: 'it was changed after it was delivered, or replaced by a later request: do not use it',
  });

/** `signed-file-differs`: the file on the exchange has another digest than the receipt says. */
export const digestDiffers = (name: string, actual: string, stated: string): SignpipeError =>
  differs(name, `the file on the exchange has SHA-256 ${actual}, the receipt says ${stated}`);

interface Download extends FetchOptions {
  /** The path below the outgoing folder. */
  readonly from: string;
  /** Where it goes. */
  readonly path: string;
}

/**
 * Downloads a delivered file under a temporary name, trying again if the connection is cut, and gives it its own name
 * once `check` has passed. Returns the path.
 */
export async function downloadFile(
  { exchange, config }: BuilderSession,
  { from, path, ...options }: Download,
  check: (temporary: string, fetched: FetchResult) => Promise<void> | void,
): Promise<string> {
  await mkdir(dirname(path), { recursive: true });
  const temporary = `${path}.unchecked`;
  await asTemporary(temporary, async () => {
    const source = `${config.exchange.outgoing}/${from}`;
    const fetched = await pRetry(() => exchange.fetch(source, temporary, options), {
      retries: 2,
      shouldRetry: ({ error }) => error instanceof SignpipeError && error.retryable,
    });
    await check(temporary, fetched);
    await rename(temporary, path);
  });
  return path;
}

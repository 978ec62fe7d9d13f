import { posix } from 'node:path';
import { openConfiguredExchange, type SiteConfig } from '../config/open.ts';
import { SignpipeError } from '../../lib/errors.ts';
import type { Exchange } from '../../protocol/exchange/exchange.ts';
import type { SshOptions } from '../../lib/ssh/options.ts';
import { bad, ok, warning, type CheckResult } from './check-result.ts';

const notThere = (folder: string): CheckResult =>
  warning(
    'folder-not-there-yet',
    `${folder} is not there yet; the first delivery makes it`,
    'or make it now, writable by this account',
  );

const writable = (folder: string, how: string): CheckResult => ok(`${folder} can be written (${how})`);

const notWritable = (folder: string, why: string): CheckResult =>
  bad(
    'exchange-not-writable',
    `${folder} cannot be written: ${why}`,
    'let the account of exchange.url write there, also names that begin with a dot',
  );

/** Whether a folder of the exchange can be looked into; the exchange says "no file" of a folder. */
async function checkReadable(exchange: Exchange, folder: string): Promise<CheckResult> {
  const isFolder = await exchange.stat(folder).then(
    () => false,
    (error: unknown) => {
      if (error instanceof SignpipeError && error.code === 'exchange-not-a-file') return true;
      throw error;
    },
  );
  if (!isFolder)
    return bad(
      'exchange-incoming-missing',
      `there is no folder ${folder} on the exchange`,
      'make it, readable by this account and writable by builders, or correct exchange.incoming',
    );
  await exchange.stat(posix.join(folder, 'signpipe-doctor-looks-for-nothing'));
  return ok(`${folder} can be read`);
}

/** Failures of a rehearsal that say no more than that the folder cannot be written. */
const NOT_WRITABLE = ['exchange-permission-denied', 'exchange-refused', 'exchange-folder-missing'];

const keepsFiles = (folder: string, left: string | null): CheckResult =>
  warning(
    'exchange-keeps-files',
    left === null
      ? `the exchange refuses to delete files, so writing to ${folder} was not tried`
      : `${folder} can be written, but the exchange refuses to delete ${left}`,
    'let the account of exchange.url delete its own files there: what a broken delivery leaves (.NAME.RANDOM.part) would stay',
  );

/** Whether a folder can be written: a small file goes the way of a delivery, and is removed. */
async function checkWritable(exchange: Exchange, folder: string): Promise<CheckResult> {
  try {
    const tried = await exchange.rehearse(folder, { make: false });
    if (!tried) return notThere(folder);
    if (!tried.deletes) return keepsFiles(folder, tried.left);
    const written = tried.written ? ['a file was written and removed'] : [];
    return writable(folder, [...written, ...tried.remarks].join('; '));
  } catch (error) {
    if (!(error instanceof SignpipeError) || !NOT_WRITABLE.includes(error.code)) throw error;
    return notWritable(folder, error.message);
  }
}

/** Which of the exchange's folders a site reads, and which it writes: a signer the reverse of a builder. */
export interface ExchangeFolders {
  readonly read: string;
  readonly write: string;
}

/** The exchange: files can be read from one folder, and written to the other. */
export async function checkExchange(
  config: Pick<SiteConfig, 'exchange'>,
  { read, write }: ExchangeFolders,
  ssh: SshOptions | undefined,
): Promise<CheckResult[]> {
  const exchange = await openConfiguredExchange(config, ssh);
  try {
    return [await checkReadable(exchange, read), await checkWritable(exchange, write)];
  } finally {
    await exchange.close();
  }
}

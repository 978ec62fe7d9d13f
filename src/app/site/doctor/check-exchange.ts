import { posix } from 'node:path';
import { openConfiguredExchange, type SiteConfig } from '../../config/open.ts';
import { SignpipeError } from '../../../lib/errors.ts';
import type { Exchange } from '../../../protocol/exchange/exchange.ts';
import type { SshOptions } from '../../../lib/ssh/options.ts';
import { bad, ok, warning, type CheckResult } from './check-result.ts';

const folderMissing = (folder: string): CheckResult =>
  warning(
    'folder-not-there-yet',
    `${folder} does not exist yet; the first delivery creates it`,
    'or create it now, writable by the account of exchange.url',
  );

const writable = (folder: string, how: string): CheckResult => ok(`${folder} can be written (${how})`);

const notWritable = (folder: string, why: string): CheckResult =>
  bad(
    'exchange-not-writable',
    `${folder} cannot be written: ${why}`,
    'let the account of exchange.url write there, also files whose names begin with a dot',
  );

/** Reads a folder of the exchange. `stat` says `exchange-not-a-file` for a folder that can be read. */
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
      'create it, readable by the account of exchange.url, or correct the folder names under exchange',
    );
  await exchange.stat(posix.join(folder, 'signpipe-doctor-looks-for-nothing'));
  return ok(`${folder} can be read`);
}

/** Codes of a trial delivery that only mean that the folder cannot be written. */
const NOT_WRITABLE = ['exchange-permission-denied', 'exchange-refused', 'exchange-folder-missing'];

const keepsFiles = (folder: string, left: string | null): CheckResult =>
  warning(
    'exchange-keeps-files',
    left === null
      ? `the exchange refuses to delete files, so writing to ${folder} was not tried`
      : `${folder} can be written, but the exchange refuses to delete ${left}`,
    'let the account of exchange.url delete its own files there: otherwise partial files of broken deliveries (.NAME.RANDOM.part) stay',
  );

/** Delivers a small file to a folder and removes it. */
async function checkWritable(exchange: Exchange, folder: string): Promise<CheckResult> {
  try {
    const trial = await exchange.rehearse(folder, { make: false });
    if (!trial) return folderMissing(folder);
    if (!trial.deletes) return keepsFiles(folder, trial.left);
    const written = trial.written ? ['a file was written and removed'] : [];
    return writable(folder, [...written, ...trial.remarks].join('; '));
  } catch (error) {
    if (!(error instanceof SignpipeError) || !NOT_WRITABLE.includes(error.code)) throw error;
    return notWritable(folder, error.message);
  }
}

/** The folder of the exchange that a site reads and the one that it writes: for a signer the reverse of a builder. */
export interface ExchangeFolders {
  readonly read: string;
  readonly write: string;
}

/** Checks that files can be read from one folder of the exchange and written to the other. */
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

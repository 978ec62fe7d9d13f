import { access, constants, rm, stat } from 'node:fs/promises';
import { posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';
import { openConfiguredExchange, type SiteConfig } from '../config/open.ts';

import { hasCode, messageOf, SignpipeError } from '../errors.ts';
import type { Exchange } from '../exchange/contract.ts';
import { temporaryName } from '../exchange/path.ts';
import { SftpSession } from '../exchange/sftp-session.ts';
import { temporaryBeside, writeFileAtomically } from '../io/atomic.ts';
import { printable } from '../printable.ts';
import { connectSsh, parseSshUrl, type SshOptions } from '../ssh/connection.ts';
import { runRemotely } from '../ssh/exec.ts';
import { shellQuote } from '../ssh/quote.ts';
import { bad, ok, warning, type Verdict } from './finding.ts';

const STALL_MS = 20_000;

/** A status code of SFTP (draft-ietf-secsh-filexfer-02, section 7). */
const NO_SUCH_FILE = 2;

const isMissing = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && error.code === NO_SUCH_FILE;

const notThere = (folder: string): Verdict =>
  warning(
    'folder-not-there-yet',
    `${folder} is not there yet; the first delivery makes it`,
    'or make it now, writable by this account',
  );

const writable = (folder: string, how: string): Verdict => ok(`${folder} can be written (${how})`);

const notWritable = (folder: string, why: string): Verdict =>
  bad(
    'exchange-not-writable',
    `${folder} cannot be written: ${why}`,
    'let the account of exchange.url write there',
  );

/** Whether a folder of the exchange can be looked into; the exchange says "no file" of a folder. */
async function checkReadable(exchange: Exchange, folder: string): Promise<Verdict> {
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

/** A shared folder: a file is written and removed. */
async function tryFolder(url: string, folder: string): Promise<Verdict> {
  const path = join(fileURLToPath(url), folder);
  try {
    if (!(await stat(path)).isDirectory()) return notWritable(folder, 'it is no folder');
    await access(path, constants.W_OK);
    const probe = temporaryBeside(join(path, 'signpipe-doctor'));
    await writeFileAtomically(probe, 'signpipe doctor\n');
    await rm(probe);
    return writable(folder, 'a file was written and removed');
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return notThere(folder);
    return notWritable(folder, messageOf(error));
  }
}

/** SFTP: a file is written, flushed, renamed and removed; what the server offers is told by the way. */
async function trySftp(url: string, folder: string, ssh: SshOptions): Promise<Verdict> {
  const location = parseSshUrl(url);
  const session = await SftpSession.open(location, ssh, STALL_MS);
  const place = posix.join(location.path, folder);
  const [first, second] = [0, 1].map(() => temporaryName(posix.join(place, 'signpipe-doctor')));
  try {
    if (!(await session.stat(place)).isDirectory()) return notWritable(folder, 'it is no folder');
    const handle = await session.open(first ?? '', 'wx');
    await session.write(handle, 0, Buffer.from('signpipe doctor\n'));
    const flushes = await session.flush(handle);
    await session.closeHandle(handle);
    const replaces = await session.replace(first ?? '', second ?? '');
    const offers = `fsync ${flushes ? 'offered' : 'not offered'}, posix-rename ${replaces ? 'offered' : 'not offered'}`;
    return writable(folder, `a file was written and removed; ${offers}`);
  } catch (error) {
    if (isMissing(error)) return notThere(folder);
    if (error instanceof SignpipeError) throw error;
    return notWritable(folder, printable(messageOf(error), 200));
  } finally {
    for (const name of [first, second]) await session.remove(name ?? '').catch(() => {});
    await session.end();
  }
}

/** The legacy protocol has a shell behind it: it is asked, and nothing is written. */
async function tryScp(url: string, folder: string, ssh: SshOptions): Promise<Verdict> {
  const location = parseSshUrl(url);
  const client = await connectSsh(location, ssh);
  try {
    const place = shellQuote(posix.join(location.path, folder));
    const command = `if test -d ${place}; then test -w ${place}; else exit 9; fi`;
    const { code } = await runRemotely(client, command, STALL_MS);
    if (code === 9) return notThere(folder);
    return code === 0
      ? writable(folder, 'by its permissions; nothing was written')
      : notWritable(folder, 'by its permissions');
  } finally {
    client.end();
  }
}

function checkWritable(url: string, folder: string, ssh: SshOptions | undefined): Promise<Verdict> {
  if (!ssh || url.startsWith('file:')) return tryFolder(url, folder);
  return url.startsWith('scp:') ? tryScp(url, folder, ssh) : trySftp(url, folder, ssh);
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
): Promise<Verdict[]> {
  const exchange = await openConfiguredExchange(config, ssh);
  try {
    return [await checkReadable(exchange, read), await checkWritable(config.exchange.url, write, ssh)];
  } finally {
    await exchange.close();
  }
}

import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import pRetry from 'p-retry';
import { printable } from '../printable.ts';
import type { ReceiptFile } from '../control/receipt.ts';
import type { RequestedFile } from '../control/zipname.ts';
import { invalid, SignpipeError } from '../errors.ts';
import { temporaryToken } from '../exchange/path.ts';
import { writeFileAtomically } from '../io/atomic.ts';
import { signFile, type SignedFile } from '../signing/sign-file.ts';
import type { Channel } from './channel.ts';
import type { JournaledOutput } from './journal.ts';
import type { Site } from './site.ts';

/** Tries again what is down, as often as the configuration says; every other error leaves at once. */
export function retrying<T>(site: Site, what: string, action: () => Promise<T>): Promise<T> {
  const { attempts, wait } = site.config.retry;
  return pRetry(action, {
    retries: attempts - 1,
    minTimeout: wait,
    factor: 2,
    maxTimeout: 60_000,
    shouldRetry: ({ error }) => error instanceof SignpipeError && error.retryable,
    onFailedAttempt: ({ error, retriesLeft }) => {
      if (error instanceof SignpipeError && error.retryable && retriesLeft > 0)
        site.log.warn({ code: error.code, retriesLeft }, `${what}: ${error.message}`);
    },
  });
}

/** One file of a request, fetched. */
export interface FetchedFile {
  readonly requested: RequestedFile;
  /** Where it lies in the work folder. */
  readonly path: string;
  readonly size: number;
  readonly sha256: string;
}

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

/** Fetches every file of a request and holds it to its pin; nothing is signed before all are there. */
export async function fetchFiles(
  site: Site,
  files: readonly RequestedFile[],
  folder: string,
): Promise<FetchedFile[]> {
  const fetched: FetchedFile[] = [];
  for (const [index, requested] of files.entries()) {
    const path = join(folder, `in-${index}`);
    const from = `${site.config.exchange.incoming}/${requested.name}`;
    const got = await retrying(site, `fetching ${requested.name}`, async () => {
      const bar = site.progress.start(`fetch ${requested.name}`, 'bytes');
      try {
        return await site.exchange.fetch(from, path, {
          limit: site.config.limits.archive,
          onProgress: bar.update,
        });
      } finally {
        bar.stop();
      }
    });
    checkPin(requested, got.sha256);
    site.log.info({ file: requested.name, bytes: got.size, sha256: got.sha256 }, `fetched ${requested.name}`);
    fetched.push({ requested, path, ...got });
  }
  return fetched;
}

/** What signing a request's files gave. */
export interface SignedRequest {
  readonly files: ReceiptFile[];
  readonly outputs: JournaledOutput[];
}

/** The folder of a request's detached signatures, by the SHA-256 of the unsigned program. */
export const signatureFile = (folder: string, sha256: string): string =>
  join(folder, 'signatures', `${sha256}.p7`);

function receiptFile(fetched: FetchedFile, made: SignedFile): ReceiptFile {
  const { requested, size, sha256 } = fetched;
  return {
    input: { name: requested.name, size, sha256 },
    output: { name: requested.name, ...made.output },
    entries: made.entries,
    signed: made.signed.map(({ path, before, after, authenticode, timestamp }) => ({
      path,
      before: { ...before },
      after: { ...after },
      authenticode: { ...authenticode },
      timestamp: timestamp && {
        time: timestamp.time.toISOString(),
        authority: timestamp.authority,
        url: timestamp.url,
      },
      signature: `signatures/${before.sha256}.p7`,
    })),
    // A stranger's certificate may name its owner at any length.
    kept: made.kept.map(({ path, signer }) => ({ path, signer: printable(signer, 400) })),
    seen: 'whole',
  };
}

async function signOne(
  site: Site,
  channel: Channel,
  file: FetchedFile,
  output: string,
  scratch: string,
): Promise<SignedFile> {
  const { signing } = channel.config;
  const { requested } = file;
  const bar = site.progress.start(`sign ${requested.name}`, 'files');
  try {
    return await signFile(
      file.path,
      output,
      {
        key: channel.key,
        hash: signing.digest,
        timestamper: channel.timestamper,
        name: signing.name,
        url: signing.url,
        alreadySigned: signing.alreadySigned,
        roots: channel.roots,
        timestampRoots: channel.timestampRoots,
        isOurs: channel.isOurs,
        limits: site.config.limits,
        scratch,
        pins: requested.entries && new Map(requested.entries.map(({ path, sha256 }) => [path, sha256])),
        onProgress: bar.update,
      },
      requested.name,
    );
  } finally {
    bar.stop();
  }
}

/**
 * Signs every fetched file into the work folder, with its detached signatures beside it. Nothing has
 * left this machine when it returns.
 */
export async function signFiles(
  site: Site,
  channel: Channel,
  fetched: readonly FetchedFile[],
  folder: string,
): Promise<SignedRequest> {
  const result: SignedRequest = { files: [], outputs: [] };
  await mkdir(join(folder, 'signatures'), { recursive: true });
  for (const [index, file] of fetched.entries()) {
    const name = `out-${index}`;
    const made = await signOne(site, channel, file, join(folder, name), folder);
    // The same program under several paths has one signature.
    const signatures = new Map(made.signed.map((entry) => [entry.before.sha256, entry.signature]));
    for (const [hash, signature] of signatures)
      await writeFileAtomically(signatureFile(folder, hash), signature);
    await rm(file.path, { force: true });
    site.log.info(
      {
        file: file.requested.name,
        signed: made.signed.length,
        kept: made.kept.length,
        entries: made.entries,
      },
      `signed ${file.requested.name}`,
    );
    result.files.push(receiptFile(file, made));
    const temporary = temporaryToken();
    result.outputs.push({ name: file.requested.name, file: name, temporary, ...made.output });
  }
  return result;
}

/** Puts a signed file on the exchange; doing it again changes nothing. */
export async function deliverFile(site: Site, output: JournaledOutput, folder: string): Promise<void> {
  const { name, file, size, sha256, temporary } = output;
  const to = `${site.config.exchange.outgoing}/${name}`;
  await retrying(site, `delivering ${name}`, async () => {
    const bar = site.progress.start(`deliver ${name}`, 'bytes');
    try {
      await site.exchange.deliver(join(folder, file), to, {
        size,
        sha256,
        ...(temporary === undefined ? {} : { temporary }),
        onProgress: bar.update,
      });
    } finally {
      bar.stop();
    }
  });
  site.log.info({ file: name, bytes: size, sha256 }, `delivered ${to}`);
}

import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { printable } from '../printable.ts';
import type { ReceiptFile } from '../control/receipt.ts';
import type { RequestedFile } from '../control/zipname.ts';
import { invalid } from '../errors.ts';
import type { FarFile } from '../exchange/far-file.ts';
import { temporaryToken } from '../exchange/path.ts';
import { writeFileAtomically } from '../io/atomic.ts';
import { withFile } from '../io/source.ts';
import type { SignedFile, SignFileOptions } from '../signing/sign-entries.ts';
import { signFile } from '../signing/sign-file.ts';
import { signRemotely, type SignedRemotely } from '../signing/sign-remotely.ts';
import type { Channel } from './channel.ts';
import type { JournaledOutput } from './journal.ts';
import { retrying } from './retrying.ts';
import type { Site } from './site.ts';
import { deliverSparse, isSparse, openFar } from './sparse.ts';

/** One file of a request, in the work folder. */
export interface WholeFile {
  readonly requested: RequestedFile;
  readonly path: string;
  readonly size: number;
  readonly sha256: string;
}

/** One file of a request that stays where it is, but for what is fetched of it into the work folder. */
interface DistantFile {
  readonly requested: RequestedFile;
  readonly path: string;
  readonly far: FarFile;
}

/** One file of a request, ready to be signed. */
export type FetchedFile = WholeFile | DistantFile;

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

/** Fetches a file as a whole and holds it to its pin. */
async function fetchWhole(site: Site, requested: RequestedFile, path: string): Promise<WholeFile> {
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
  return { requested, path, ...got };
}

/**
 * Fetches every file of a request, or opens it where it lies; nothing is signed before all are there.
 * Who calls this closes what was opened.
 */
export async function fetchFiles(
  site: Site,
  files: readonly RequestedFile[],
  folder: string,
): Promise<FetchedFile[]> {
  const fetched: FetchedFile[] = [];
  try {
    for (const [index, requested] of files.entries()) {
      const path = join(folder, `in-${index}`);
      const far = await openFar(site, requested, path);
      fetched.push(far ? { requested, path, far } : await fetchWhole(site, requested, path));
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

/** What signing a request's files gave. */
export interface SignedRequest {
  readonly files: ReceiptFile[];
  readonly outputs: JournaledOutput[];
}

/** The folder of a request's detached signatures, by the SHA-256 of the unsigned program. */
export const signatureFile = (folder: string, sha256: string): string =>
  join(folder, 'signatures', `${sha256}.p7`);

type Made = Pick<SignedFile, 'entries' | 'signed' | 'kept'>;

/** What a receipt says of the programs in a file. */
function programsOf(made: Made): Pick<ReceiptFile, 'entries' | 'signed' | 'kept'> {
  return {
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
  };
}

function optionsFor(
  site: Site,
  channel: Channel,
  { entries }: RequestedFile,
  scratch: string,
): SignFileOptions {
  const { signing } = channel.config;
  return {
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
    pins: entries && new Map(entries.map(({ path, sha256 }) => [path, sha256])),
  };
}

/** What signing one file gave. */
interface SignedOne {
  readonly made: Made;
  readonly file: ReceiptFile;
  readonly output: JournaledOutput;
}

async function signWhole(
  file: WholeFile,
  folder: string,
  name: string,
  options: SignFileOptions,
): Promise<SignedOne> {
  const { requested, size, sha256 } = file;
  const made = await signFile(file.path, join(folder, name), options, requested.name);
  return {
    made,
    file: {
      input: { name: requested.name, size, sha256 },
      output: { name: requested.name, ...made.output },
      ...programsOf(made),
      seen: 'whole',
    },
    output: { name: requested.name, file: name, temporary: temporaryToken(), ...made.output },
  };
}

/** Of a file that was not seen as a whole, no SHA-256 is claimed. */
function describeSparse({ requested, far }: DistantFile, made: SignedRemotely, name: string): SignedOne {
  const { size, spans } = made.assembly;
  const source = { size: far.size, modified: far.modified.toISOString() };
  return {
    made,
    file: {
      input: { name: requested.name, size: far.size },
      output: { name: requested.name, size },
      ...programsOf(made),
      seen: 'entries',
    },
    output: {
      name: requested.name,
      file: name,
      temporary: temporaryToken(),
      size,
      sha256: made.sha256,
      assembly: { source, spans: [...spans] },
    },
  };
}

async function signOne(
  site: Site,
  channel: Channel,
  file: FetchedFile,
  folder: string,
  name: string,
): Promise<SignedOne> {
  const { requested, path } = file;
  const bar = site.progress.start(`sign ${requested.name}`, 'files');
  const options = { ...optionsFor(site, channel, requested, folder), onProgress: bar.update };
  const { pins } = options;
  try {
    if (!('far' in file)) return await signWhole(file, folder, name, options);
    const made = pins && (await signRemotely(file.far, join(folder, name), { ...options, pins }));
    if (made) {
      const told = { file: requested.name, bytes: file.far.fetched, of: file.far.size };
      site.log.info(told, `fetched ${requested.name} in part`);
      return describeSparse(file, made, name);
    }
    await rm(path, { force: true });
    return await signWhole(await fetchWhole(site, requested, path), folder, name, options);
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
  for (const [index, each] of fetched.entries()) {
    const { made, file, output } = await signOne(site, channel, each, folder, `out-${index}`);
    // The same program under several paths has one signature.
    const signatures = new Map(made.signed.map((entry) => [entry.before.sha256, entry.signature]));
    for (const [hash, signature] of signatures)
      await writeFileAtomically(signatureFile(folder, hash), signature);
    await rm(each.path, { force: true });
    site.log.info(
      { file: output.name, signed: made.signed.length, kept: made.kept.length, entries: made.entries },
      `signed ${output.name}`,
    );
    result.files.push(file);
    result.outputs.push(output);
  }
  return result;
}

/** Puts a signed file on the exchange; doing it again changes nothing. */
export async function deliverFile(site: Site, output: JournaledOutput, folder: string): Promise<void> {
  const { name, file, size, sha256, temporary } = output;
  if (isSparse(output)) {
    await deliverSparse(site, output, folder);
    site.log.info({ file: name, bytes: size }, `delivered ${name}, put together on the exchange`);
    return;
  }
  const to = `${site.config.exchange.outgoing}/${name}`;
  await retrying(site, `delivering ${name}`, async () => {
    const bar = site.progress.start(`deliver ${name}`, 'bytes');
    try {
      await withFile(join(folder, file), (content) =>
        site.exchange.deliver(content, to, {
          size,
          sha256,
          ...(temporary === undefined ? {} : { temporary }),
          onProgress: bar.update,
        }),
      );
    } finally {
      bar.stop();
    }
  });
  site.log.info({ file: name, bytes: size, sha256 }, `delivered ${to}`);
}

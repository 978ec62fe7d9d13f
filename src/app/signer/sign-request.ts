import { rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { printable } from '../../lib/printable.ts';
import { underBar } from '../../lib/progress.ts';
import type { MadeSignature } from '../../engine/authenticode/sign.ts';
import { deliveredPath } from '../config/delivered-path.ts';
import type { ReceiptFile } from '../../protocol/control/receipt.ts';
import type { RequestedFile } from '../../protocol/control/zipname.ts';
import { temporaryToken } from '../../protocol/exchange/path.ts';
import { syncFile } from '../../lib/bytes/atomic-file.ts';
import { withFile } from '../../lib/bytes/byte-source.ts';
import { settleAll } from '../../lib/concurrency/settle-all.ts';
import type { SignedFile, SignArtifactOptions } from '../../engine/artifact/sign-result.ts';
import { signFile } from '../../engine/artifact/sign-file.ts';
import { signRemoteZip, signZipAsDelta, type SignedDelta } from '../../engine/artifact/sign-zip.ts';
import type { Channel } from './channel.ts';
import { fetchWhole, type DistantFile, type FetchedFile, type WholeFile } from './fetch.ts';
import type { JournaledOutput } from './journal.ts';
import { writeSignatures } from './signature-store.ts';
import type { SignerContext } from './signer-context.ts';

/** What signing a request's files gave. */
export interface SignedRequest {
  readonly files: ReceiptFile[];
  readonly outputs: JournaledOutput[];
  /** New bytes that are in memory, by the name of their file. */
  readonly fresh: Map<string, Buffer>;
}

type Made = Pick<SignedFile, 'entries' | 'signed' | 'kept' | 'leftAlone'>;

/** The most entries that a receipt names as left alone: the maker of the zip chooses their number. */
const MOST_LEFT_ALONE = 100;

/** What a receipt says of the programs in a file. */
function programsOf(
  made: Made,
): Pick<ReceiptFile, 'entries' | 'signed' | 'kept' | 'leftAlone' | 'attachments'> {
  return {
    entries: made.entries,
    signed: made.signed.map(({ path, before, after, authenticode, timestamp }) => ({
      path,
      inside: [],
      format: 'pe',
      scheme: 'authenticode',
      before: { ...before },
      after: { ...after },
      digest: { algorithm: authenticode.algorithm, value: authenticode.digest },
      authenticode: { ...authenticode },
      timestamp: timestamp && {
        time: timestamp.time.toISOString(),
        authority: timestamp.authority,
        url: timestamp.url,
      },
      signature: `signatures/${before.sha256}.p7`,
    })),
    // A stranger's certificate may name its owner at any length.
    kept: made.kept.map((entry) => ({ ...entry, signer: printable(entry.signer, 400) })),
    ...(made.leftAlone.length > 0
      ? { leftAlone: made.leftAlone.slice(0, MOST_LEFT_ALONE).map((entry) => ({ ...entry })) }
      : {}),
    attachments: [],
  };
}

function optionsFor(
  context: SignerContext,
  channel: Channel,
  { entries }: RequestedFile,
  scratch: string,
): SignArtifactOptions {
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
    limits: context.config.limits,
    scratch,
    pins: entries && new Map(entries.map(({ path, sha256 }) => [path, sha256])),
  };
}

/** What signing one file gave. */
interface SignedOne {
  readonly made: Made;
  readonly file: ReceiptFile;
  readonly output: JournaledOutput;
  /** The new bytes, where they are in memory. */
  readonly fresh?: Buffer | null;
}

async function signWhole(
  file: WholeFile,
  folder: string,
  name: string,
  options: SignArtifactOptions,
): Promise<SignedOne> {
  const fresh = join(folder, name);
  // Once something was delivered, a crash must find the unsigned file: on the disk it is in time.
  const [parts] = await settleAll([
    withFile(file.path, (source) => signZipAsDelta(source, fresh, options), file.requested.name),
    syncFile(file.path),
  ]);
  const made = parts ?? (await signFile(file.path, fresh, options, file.requested.name));
  return {
    made,
    file: describeWhole(file, made),
    output: {
      name: file.requested.name,
      file: name,
      temporary: temporaryToken(),
      size: made.output.size,
      ...(parts ? inParts(file, parts) : { sha256: made.output.sha256 }),
    },
  };
}

const describeWhole = (
  { requested: { name }, size, sha256 }: WholeFile,
  made: Made & Pick<SignedFile, 'output'>,
): ReceiptFile => ({
  input: { name, size, sha256 },
  output: { name, ...made.output },
  ...programsOf(made),
  seen: 'whole',
});

/** The unsigned file stays in the work folder until the signed one is delivered. */
const inParts = (
  { path, size, modified }: WholeFile,
  { delta, sha256, output }: SignedDelta & Pick<SignedFile, 'output'>,
): Pick<JournaledOutput, 'sha256' | 'assembly'> => ({
  sha256,
  assembly: {
    source: { size, ...(modified ? { modified: modified.toISOString() } : {}) },
    spans: [...delta.spans],
    whole: { unsigned: basename(path), sha256: output.sha256 },
  },
});

/** Of a file that was not seen as a whole, no SHA-256 is claimed. */
function describeSparse({ requested, far }: DistantFile, made: SignedDelta, name: string): SignedOne {
  const { size, spans } = made.delta;
  const source = { size: far.size, modified: far.modified.toISOString() };
  return {
    made,
    fresh: made.newBytes,
    file: {
      input: { name: requested.name, size: far.size },
      output: { name: requested.name, size },
      ...programsOf(made),
      seen: 'entries',
    },
    output: {
      name: requested.name,
      ...(made.newBytes ? {} : { file: name }),
      temporary: temporaryToken(),
      size,
      sha256: made.sha256,
      assembly: { source, spans: [...spans] },
    },
  };
}

async function signOne(
  context: SignerContext,
  file: FetchedFile,
  folder: string,
  name: string,
  options: SignArtifactOptions,
): Promise<SignedOne> {
  if (!('far' in file)) return signWhole(file, folder, name, options);
  const { requested, path, far } = file;
  const { pins } = options;
  const made = pins && (await signRemoteZip(far, join(folder, name), { ...options, pins }));
  if (made) {
    const told = { file: requested.name, bytes: far.bytesFetched, of: far.size };
    context.log.info(told, `fetched ${requested.name} in part`);
    return describeSparse(file, made, name);
  }
  return signWhole(await fetchWhole(context, requested, path), folder, name, options);
}

/**
 * Signs every fetched file into the work folder, or into memory where it stayed on the exchange; the detached
 * signatures go beside the journal. `request` is the request's id. Nothing has left this machine when it returns.
 */
export async function signFiles(
  context: SignerContext,
  channel: Channel,
  fetched: readonly FetchedFile[],
  { request, folder }: { readonly request: string; readonly folder: string },
): Promise<SignedRequest> {
  const result: SignedRequest = { files: [], outputs: [], fresh: new Map() };
  const signatures = new Map<string, Buffer>();
  // The receipt holds one signature for a program, in how many of the files it may be.
  const earlier = new Map<string, MadeSignature>();
  for (const [index, each] of fetched.entries()) {
    const options = { ...optionsFor(context, channel, each.requested, folder), made: earlier };
    const { made, file, output, fresh } = await underBar(
      context.progress,
      `sign ${each.requested.name}`,
      'files',
      (onProgress) => signOne(context, each, folder, `out-${index}`, { ...options, onProgress }),
    );
    // The same program under several paths has one signature.
    for (const { before, signature } of made.signed) signatures.set(before.sha256, signature);
    if (!output.assembly?.whole) await rm(each.path, { force: true });
    context.log.info(
      { file: output.name, signed: made.signed.length, kept: made.kept.length, entries: made.entries },
      `signed ${output.name}`,
    );
    const path = deliveredPath(context.config.exchange.delivered, { request, name: output.name });
    result.files.push(file.output ? { ...file, output: { ...file.output, path } } : file);
    result.outputs.push({ ...output, path });
    if (fresh) result.fresh.set(output.name, fresh);
  }
  await writeSignatures(context.config.state, signatures);
  return result;
}

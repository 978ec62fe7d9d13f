import { rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { notAllowed } from '../../../lib/errors.ts';
import { withProgressBar } from '../../../lib/progress.ts';
import type { NewSignature } from '../../../engine/authenticode/sign.ts';
import type { SigningKey } from '../../../engine/keys/signing-key.ts';
import type { Certificate } from '../../../lib/x509/certificate.ts';
import { deliveredPath } from '../../config/delivered-path.ts';
import type { ReceiptFile } from '../../../protocol/control/receipt-schema.ts';
import type { RequestedFile } from '../../../protocol/control/zipname.ts';
import { temporaryToken } from '../../../protocol/exchange/path.ts';
import { syncFile } from '../../../lib/bytes/atomic-file.ts';
import { withFile } from '../../../lib/bytes/byte-source.ts';
import { settleAll } from '../../../lib/concurrency/all-settled.ts';
import { NoPrograms, type SignArtifactOptions } from '../../../engine/artifact/signed-artifact.ts';
import { shownPlace } from '../../../engine/artifact/inside/place.ts';
import { signFile } from '../../../engine/artifact/sign-file.ts';
import { isOtherFile } from '../../../engine/artifact/other-file.ts';
import { signRemoteZip, signZipAsDelta, type SignedDelta } from '../../../engine/artifact/sign-zip.ts';
import type { Channel } from '../channel/channel.ts';
import { fetchWhole, type SparseFile, type FetchedFile, type WholeFile } from './fetch.ts';
import type { JournaledOutput } from '../state/journal.ts';
import { signatureStore, writeBlobs } from '../state/blob-store.ts';
import { programsOf } from './receipt-programs.ts';
import type { MadeFile, SignedRequestFile, Target } from './signed-request-file.ts';
import type { SignerContext } from '../context/signer-context.ts';
import { keepUnchanged } from './unchanged-file.ts';

/** The signed files of a request. */
export interface SignedFiles {
  readonly files: ReceiptFile[];
  readonly outputs: JournaledOutput[];
  /** New bytes in memory, by file name. */
  readonly newBytes: Map<string, Buffer>;
  /** The certificate of the first signature; undefined if nothing was signed. */
  readonly certificate: Certificate | undefined;
}

function optionsFor(
  context: SignerContext,
  channel: Channel,
  { entries }: RequestedFile,
  scratch: string,
): WholeFileOptions {
  const { signing } = channel.config;
  return {
    key: channel.key,
    hash: signing.digest,
    timestamper: channel.timestamper,
    name: signing.name,
    url: signing.url,
    pageHashes: signing.pageHashes,
    alreadySigned: signing.alreadySigned,
    inside: signing.inside,
    acceptOthers: signing.others === 'checksum',
    roots: channel.roots,
    timestampRoots: channel.timestampRoots,
    isOurs: channel.isOurs,
    limits: context.config.limits,
    scratch,
    pins: entries && new Map(entries.map(({ path, sha256 }) => [path, sha256])),
  };
}

/** What may be done to a file that was fetched as a whole. */
interface WholeFileOptions extends SignArtifactOptions {
  /** Whether a file that cannot be signed is delivered as it came; else it is refused. */
  readonly acceptOthers: boolean;
}

/**
 * Signs a file, or keeps it as it came if it cannot be signed and policy permits that. A file of which the request pins
 * single programs is meant to be signed.
 */
async function signOrKeep(
  whole: WholeFile,
  target: Target,
  options: WholeFileOptions,
): Promise<SignedRequestFile> {
  const { path, requested } = whole;
  const mayKeep = options.acceptOthers && !options.pins;
  if (mayKeep && (await isOtherFile(path, requested.name, options.isOurs)))
    return keepUnchanged(whole, target);
  try {
    return await signWhole(whole, target, options);
  } catch (error) {
    if (!mayKeep || !(error instanceof NoPrograms)) throw error;
    return keepUnchanged(whole, target, error.contents);
  }
}

async function signWhole(
  whole: WholeFile,
  { folder, file, path }: Target,
  options: SignArtifactOptions,
): Promise<SignedRequestFile> {
  const { size, sha256, requested, modified } = whole;
  const { name } = requested;
  const target = join(folder, file);
  // After a delivery, a crash must find the unsigned file on the disk: it is flushed while the zip is signed.
  const [signed] = await settleAll([
    withFile(whole.path, (source) => signZipAsDelta(source, target, options), name),
    syncFile(whole.path),
  ]);
  const made = signed ?? (await signFile(whole.path, target, options, name));
  const place = { name, path, temporary: temporaryToken(), ...made.output };
  return {
    made,
    file: {
      input: { name, size, sha256 },
      output: { name, path, ...made.output },
      ...programsOf(made, options.key),
      seen: 'whole',
    },
    output: signed
      ? {
          mode: 'delta',
          ...place,
          // It stays in the work folder until the signed file is delivered.
          unsigned: {
            file: basename(whole.path),
            size,
            ...(modified ? { modified: modified.toISOString() } : {}),
          },
          newBytes: { file, sha256: signed.sha256 },
          spans: [...signed.delta.spans],
        }
      : { mode: 'file', ...place, file },
  };
}

/** Describes a file of which only parts were read: no SHA-256 of it is claimed. */
function describeSparse(
  { requested: { name }, remote }: SparseFile,
  made: SignedDelta,
  { file, path }: Target,
  key: SigningKey,
): SignedRequestFile {
  const { size, spans } = made.delta;
  return {
    made,
    newBytes: made.newBytes,
    file: {
      input: { name, size: remote.size },
      output: { name, path, size },
      ...programsOf(made, key),
      seen: 'entries',
    },
    output: {
      mode: 'sparse',
      name,
      path,
      size,
      temporary: temporaryToken(),
      unsigned: { size: remote.size, modified: remote.modified.toISOString() },
      newBytes: { ...(made.newBytes ? {} : { file }), sha256: made.sha256 },
      spans: [...spans],
    },
  };
}

async function signOne(
  context: SignerContext,
  fetched: FetchedFile,
  target: Target,
  options: WholeFileOptions,
): Promise<SignedRequestFile> {
  if (!('remote' in fetched)) return signOrKeep(fetched, target, options);
  const { requested, path, remote } = fetched;
  const { pins } = options;
  const made = pins && (await signRemoteZip(remote, join(target.folder, target.file), { ...options, pins }));
  if (made) {
    const fields = { file: requested.name, bytes: remote.bytesFetched, of: remote.size };
    context.log.info(fields, `fetched ${requested.name} in part`);
    return describeSparse(fetched, made, target, options.key);
  }
  return signOrKeep(await fetchWhole(context, requested, path), target, options);
}

/**
 * Throws `inside-ambiguous` if the same container was packed again in two ways, since the patterns mean something inside of it
 * at one place only: a receipt names signatures by the unsigned bytes, and could hold only one of them.
 */
function requireSame(earlier: Buffer | undefined, signature: Buffer, name: string): void {
  if (!earlier || earlier.equals(signature)) return;
  throw notAllowed(
    'inside-ambiguous',
    `${name}: the same container is there twice, and different files are ours inside of it`,
    { hint: 'use patterns in signing.files that do not depend on the container, such as **/*.exe' },
  );
}

/** Names in the log what is unsigned in signed containers; the receipt does, too. */
function logUnsigned({ log }: SignerContext, name: string, { unsignedInside }: MadeFile): void {
  if (unsignedInside.length === 0) return;
  const places = unsignedInside.slice(0, 10).map(shownPlace);
  log.warn(
    { file: name, unsigned: unsignedInside.length, first: places },
    `${name}: containers in it hold unsigned programs`,
  );
}

/**
 * Signs every fetched file into the work folder, or into memory if it stayed on the exchange; the detached signatures
 * go beside the journal. `request` is the request's id. Nothing has left this machine when it returns.
 */
export async function signFiles(
  context: SignerContext,
  channel: Channel,
  fetched: readonly FetchedFile[],
  { request, folder }: { readonly request: string; readonly folder: string },
): Promise<SignedFiles> {
  const result = {
    files: [] as ReceiptFile[],
    outputs: [] as JournaledOutput[],
    newBytes: new Map<string, Buffer>(),
  };
  let certificate: Certificate | undefined;
  const signatures = new Map<string, Buffer>();
  // The receipt has one signature for a program, however many of the files contain it.
  const earlier = new Map<string, NewSignature>();
  for (const [index, each] of fetched.entries()) {
    const options = { ...optionsFor(context, channel, each.requested, folder), earlier };
    const { name } = each.requested;
    const path = deliveredPath(context.config.exchange.delivered, { request, name });
    const target = { folder, file: `out-${index}`, path };
    const { made, file, output, newBytes } = await withProgressBar(
      context.progress,
      `sign ${name}`,
      'files',
      (onProgress) => signOne(context, each, target, { ...options, onProgress }),
    );
    // The same program under several paths has one signature.
    for (const { detachedName, signature } of made.signed) {
      requireSame(signatures.get(detachedName), signature, name);
      signatures.set(detachedName, signature);
    }
    certificate ??= made.signed[0]?.certificate;
    if (output.mode !== 'delta') await rm(each.path, { force: true });
    context.log.info(
      { file: name, signed: made.signed.length, kept: made.kept.length, entries: made.entries },
      made.signed.length > 0 ? `signed ${name}` : `${name} cannot be signed: it stays as it is`,
    );
    logUnsigned(context, name, made);
    result.files.push(file);
    result.outputs.push(output);
    if (newBytes) result.newBytes.set(name, newBytes);
  }
  await writeBlobs(signatureStore(context.config.state, request), signatures);
  return { ...result, certificate };
}

import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { signatureName, type Receipt } from '../../../protocol/control/receipt-schema.ts';
import { SignpipeError } from '../../../lib/errors.ts';
import type { NewBytes } from '../../../protocol/exchange/exchange.ts';
import { fileChanged, fileMissing } from '../../../protocol/exchange/exchange-errors.ts';
import { RemoteFile } from '../../../protocol/exchange/remote-file.ts';
import { BufferSource, withFile } from '../../../lib/bytes/byte-source.ts';
import { attachToRemoteZip } from '../../../engine/artifact/attach-file.ts';
import { incoming } from './fetch.ts';
import type { DeltaOutput } from '../state/journal.ts';
import { retry } from '../context/retry.ts';
import { blobOf, readBlobs, signatureStore } from '../state/blob-store.ts';
import type { SignerContext } from '../context/signer-context.ts';

/** A request whose files are being delivered. */
export interface Delivery {
  readonly receipt: Receipt;
  /** Its work folder. */
  readonly folder: string;
  /** New bytes in memory, by file name; none after a crash. */
  readonly newBytes: ReadonlyMap<string, Buffer>;
}

/**
 * The new bytes of a file: from memory, from the work folder, or made again. A file that was signed sparsely leaves
 * only its signatures on the disk; with those, the unsigned zip gives the same bytes again.
 */
export function newBytesOf(context: SignerContext, output: DeltaOutput, delivery: Delivery): NewBytes['use'] {
  const { name, newBytes } = output;
  const { file } = newBytes;
  const inMemory = delivery.newBytes.get(name);
  if (inMemory) return (send) => send(new BufferSource(inMemory, name));
  if (file !== undefined) return (send) => withFile(join(delivery.folder, file), send, name);
  let again: Promise<Buffer> | undefined;
  return async (send) => send(new BufferSource(await (again ??= makeAgain(context, output, delivery)), name));
}

async function makeAgain(
  context: SignerContext,
  output: DeltaOutput,
  { receipt, folder }: Delivery,
): Promise<Buffer> {
  const signedPrograms = receipt.files.find(({ input }) => input.name === output.name)?.signed ?? [];
  const store = signatureStore(context.config.state, receipt.request.id);
  const signatures = await readBlobs(store);
  const digests = signedPrograms.map((program) => ({
    path: program.path,
    inside: program.inside,
    before: program.before.sha256,
    after: program.after.sha256,
    signature: blobOf(store, signatures, signatureName(program)),
  }));
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const remote = await openAgain(context, output, folder);
  try {
    const { limits } = context.config;
    const rebuilt = await attachToRemoteZip(remote, digests, join(folder, 'again'), {
      limits,
      scratch: folder,
    });
    const same =
      rebuilt.used === output.newBytes.sha256 && isDeepStrictEqual(rebuilt.delta.spans, output.spans);
    if (!rebuilt.newBytes || !same) throw differs(output.name);
    context.log.info(
      { file: output.name, bytes: remote.bytesFetched, of: remote.size },
      `put ${output.name} together again`,
    );
    return rebuilt.newBytes;
  } finally {
    await remote.close();
  }
}

/** Opens the unsigned file on the exchange; throws `exchange-file-changed` if it is not as it was when it was signed. */
async function openAgain(
  context: SignerContext,
  { name, unsigned }: DeltaOutput,
  folder: string,
): Promise<RemoteFile> {
  const retryReading = <T>(action: () => Promise<T>): Promise<T> => retry(context, `reading ${name}`, action);
  const cache = join(folder, 'far');
  const remote = await RemoteFile.open(context.exchange, incoming(context, name), {
    cache,
    retry: retryReading,
    name,
  });
  if (!remote) throw fileMissing(name);
  if (remote.size === unsigned.size && remote.modified.toISOString() === unsigned.modified) return remote;
  await remote.close();
  throw fileChanged(name);
}

const differs = (name: string): SignpipeError =>
  new SignpipeError(
    'local',
    'remade-differs',
    `${name}: what was to be delivered when the signer was stopped cannot be made again: it comes out otherwise`,
    {
      hint: 'submit a new request; the zip was packed by another zlib, or the file was changed on the exchange',
    },
  );

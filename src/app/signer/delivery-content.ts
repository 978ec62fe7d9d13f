import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { Receipt } from '../../protocol/control/receipt.ts';
import { SignpipeError } from '../../lib/errors.ts';
import type { NewBytes } from '../../protocol/exchange/exchange.ts';
import { fileChanged, fileMissing } from '../../protocol/exchange/exchange-errors.ts';
import { RemoteFile } from '../../protocol/exchange/remote-file.ts';
import type { Delta } from '../../lib/bytes/delta.ts';
import { BufferSource, withFile } from '../../lib/bytes/byte-source.ts';
import { attachToRemoteZip } from '../../engine/artifact/attach-file.ts';
import { incoming } from './fetch.ts';
import type { JournaledOutput } from './journal.ts';
import { retry } from './retry.ts';
import { readSignatures, signatureOf } from './signature-store.ts';
import type { SignerContext } from './signer-context.ts';

/** A request whose files are being delivered. */
export interface Delivery {
  readonly receipt: Receipt;
  /** Its work folder. */
  readonly folder: string;
  /** New bytes that are in memory, by the name of their file; none after a crash. */
  readonly fresh: ReadonlyMap<string, Buffer>;
}

type Use = NewBytes['use'];

/**
 * The new bytes of a file: from memory, from the work folder, or made again. What was signed sparsely leaves
 * nothing on the disk but its signatures; with those, the unsigned zip gives the same bytes again.
 */
export function deliveryContent(context: SignerContext, output: JournaledOutput, delivery: Delivery): Use {
  const { name, file } = output;
  const kept = delivery.fresh.get(name);
  if (kept) return (send) => send(new BufferSource(kept, name));
  if (file !== undefined) return (send) => withFile(join(delivery.folder, file), send, name);
  let again: Promise<Buffer> | undefined;
  return async (send) => send(new BufferSource(await (again ??= makeAgain(context, output, delivery)), name));
}

async function makeAgain(
  context: SignerContext,
  output: JournaledOutput,
  { receipt, folder }: Delivery,
): Promise<Buffer> {
  const signed = receipt.files.find(({ input }) => input.name === output.name)?.signed ?? [];
  const signatures = await readSignatures(context.config.state);
  const wanted = signed.map(({ path, before, after }) => ({
    path,
    before: before.sha256,
    after: after.sha256,
    signature: signatureOf(signatures, before.sha256),
  }));
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const far = await openAgain(context, output, folder);
  try {
    const { limits } = context.config;
    const made = await attachToRemoteZip(far, wanted, join(folder, 'again'), { limits, scratch: folder });
    const same = made.used === output.sha256 && isSame(made.delta, output.assembly);
    if (!made.newBytes || !same) throw differs(output.name);
    context.log.info(
      { file: output.name, bytes: far.bytesFetched, of: far.size },
      `put ${output.name} together again`,
    );
    return made.newBytes;
  } finally {
    await far.close();
  }
}

const isSame = (one: Delta, other: JournaledOutput['assembly']): boolean =>
  isDeepStrictEqual(one.spans, other?.spans);

/** The unsigned file where it lies, as it was when it was signed. */
async function openAgain(
  context: SignerContext,
  { name, assembly }: JournaledOutput,
  folder: string,
): Promise<RemoteFile> {
  const retryReading = <T>(action: () => Promise<T>): Promise<T> => retry(context, `reading ${name}`, action);
  const cache = join(folder, 'far');
  const far = await RemoteFile.open(context.exchange, incoming(context, name), {
    cache,
    retry: retryReading,
    name,
  });
  if (!far) throw fileMissing(name);
  const { source } = assembly ?? {};
  if (far.size === source?.size && far.modified.toISOString() === source.modified) return far;
  await far.close();
  throw fileChanged(name);
}

const differs = (name: string): SignpipeError =>
  new SignpipeError(
    'local',
    'remade-differs',
    `${name}: what was to be delivered when the signer was stopped cannot be made again: it comes out otherwise`,
    {
      hint: 'make the request again; it was packed by another zlib, or its file was changed on the exchange',
    },
  );

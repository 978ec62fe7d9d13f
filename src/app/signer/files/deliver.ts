import { rm } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { invalid, SignpipeError } from '../../../lib/errors.ts';
import { PatchedSource } from '../../../lib/bytes/patched-source.ts';
import { sha256OfSource } from '../../../lib/bytes/hash.ts';
import { BufferSource, withFile, type ByteSource } from '../../../lib/bytes/byte-source.ts';
import { incoming } from './fetch.ts';
import { attachmentStore, blobOf, readBlobs } from '../state/blob-store.ts';
import type { AttachmentOutput, DeltaOutput, JournaledOutput, SparseOutput } from '../state/journal.ts';
import { newBytesOf, type Delivery } from './delivery-content.ts';
import type { NewBytes, Exchange } from '../../../protocol/exchange/exchange.ts';
import { withProgressBar } from '../../../lib/progress.ts';
import { retry } from '../context/retry.ts';
import type { SignerContext } from '../context/signer-context.ts';
import { deliveredPath } from '../../config/delivered-path.ts';
import type { Request } from '../../../protocol/control/request.ts';

/** The path on the exchange that an output is delivered to. */
export const outgoing = (context: SignerContext, { path }: JournaledOutput): string =>
  `${context.config.exchange.outgoing}/${path}`;

/** Puts a signed file on the exchange; doing it again changes nothing. */
export async function deliverFile(
  context: SignerContext,
  output: JournaledOutput,
  delivery: Delivery,
): Promise<void> {
  const { name, size } = output;
  const { folder } = delivery;
  if (output.mode === 'file')
    await withFile(
      join(folder, output.file),
      (content) => deliverContent(context, output, content, output.sha256),
      name,
    );
  else if (output.mode === 'attachment')
    await deliverAttachment(context, output, delivery.receipt.request.id);
  else {
    const newBytes = { sha256: output.newBytes.sha256, use: newBytesOf(context, output, delivery) };
    if (await isAssembledThere(context, output, newBytes)) {
      context.log.info({ file: name, bytes: size }, `delivered ${name}, put together on the exchange`);
      return;
    }
    if (output.mode === 'sparse') await deliverRefetched(context, output, newBytes, folder);
    else
      await deliverPatched(context, output, newBytes, {
        unsigned: join(folder, output.unsigned.file),
        sha256: () => output.sha256,
      });
  }
  context.log.info({ file: name, bytes: size }, `delivered ${outgoing(context, output)}`);
}

async function deliverAttachment(
  context: SignerContext,
  output: AttachmentOutput,
  request: string,
): Promise<void> {
  const store = attachmentStore(context.config.state, request);
  const content = blobOf(store, await readBlobs(store), output.sha256);
  await deliverContent(context, output, new BufferSource(content, output.name), output.sha256);
}

async function deliverContent(
  context: SignerContext,
  output: JournaledOutput,
  content: ByteSource,
  sha256: string,
): Promise<void> {
  const { name, size, temporary } = output;
  await retry(context, `delivering ${name}`, () =>
    withProgressBar(context.progress, `deliver ${name}`, 'bytes', (onProgress) =>
      context.exchange.deliver(content, outgoing(context, output), {
        size,
        sha256,
        ...(temporary === undefined ? {} : { temporary }),
        onProgress,
      }),
    ),
  );
}

/** Delivers the signed file, made here from the unsigned one and the new bytes. */
const deliverPatched = (
  context: SignerContext,
  output: DeltaOutput,
  newBytes: NewBytes,
  file: {
    readonly unsigned: string;
    readonly sha256: (content: ByteSource) => string | Promise<string>;
  },
): Promise<void> =>
  withFile(file.unsigned, (source) =>
    newBytes.use(async (bytes) => {
      const content = new PatchedSource(source, output, bytes);
      await deliverContent(context, output, content, await file.sha256(content));
    }),
  );

/** Errors of the exchange after which the file can still be delivered from this machine: it does not copy after all. */
const NO_COPY = ['exchange-no-copy'];
/** Errors after which the copy of the unsigned file on this machine can still be used: the one on the exchange has changed. */
const NO_COPY_OR_CHANGED = [...NO_COPY, 'exchange-file-changed', 'exchange-verify-failed'];

/**
 * Has the exchange assemble the signed file from the unsigned one and the new bytes, if it can. Doing it again changes
 * nothing, even if the signed file replaced the unsigned one. Throws `exchange-file-changed` if the unsigned file
 * changed and there is no other copy of it.
 */
async function isAssembledThere(
  context: SignerContext,
  output: DeltaOutput,
  newBytes: NewBytes,
): Promise<boolean> {
  const { name, mode, unsigned } = output;
  const { modified } = unsigned;
  if (modified === undefined) return false;
  const accepted = mode === 'delta' ? NO_COPY_OR_CHANGED : NO_COPY;
  return retry(context, `delivering ${name}`, async () => {
    try {
      if (mode === 'delta' && !(await context.exchange.canAssemble())) return false;
      await assembleThere(context, output, new Date(modified), newBytes);
      return true;
    } catch (error) {
      if (!(error instanceof SignpipeError) || !accepted.includes(error.code)) throw error;
      context.log.warn({ code: error.code }, `${name} is moved as a whole after all: ${error.message}`);
      return false;
    }
  });
}

function assembleThere(
  context: SignerContext,
  output: DeltaOutput,
  modified: Date,
  newBytes: NewBytes,
): Promise<void> {
  const { name, size, spans, unsigned, temporary } = output;
  return withProgressBar(context.progress, `deliver ${name}`, 'bytes', (onProgress) =>
    context.exchange.assemble(incoming(context, name), outgoing(context, output), {
      source: { size: unsigned.size, modified },
      delta: { size, spans },
      fresh: newBytes,
      ...(output.mode === 'delta' ? { sha256: output.sha256 } : {}),
      ...(temporary === undefined ? {} : { temporary }),
      onProgress,
    }),
  );
}

/** Fetches the unsigned file, which this machine has seen in part only, and delivers the signed one from here. */
async function deliverRefetched(
  context: SignerContext,
  output: SparseOutput,
  newBytes: NewBytes,
  folder: string,
): Promise<void> {
  const { name } = output;
  const { size, modified } = output.unsigned;
  const unsigned = join(folder, 'unsigned');
  await retry(context, `fetching ${name}`, async () => {
    const now = await context.exchange.stat(incoming(context, name));
    if (now?.size !== size || now.modified.toISOString() !== modified)
      throw invalid('exchange-file-changed', `${name}: changed on the exchange after it was read`, {
        hint: 'submit a new request, and do not change the file until it is answered',
      });
    await context.exchange.fetch(incoming(context, name), unsigned, { limit: size });
  });
  await deliverPatched(context, output, newBytes, { unsigned, sha256: sha256OfSource });
  await rm(unsigned, { force: true });
}

/** Exchanges on which a delivery was rehearsed. */
const rehearsedExchanges = new WeakSet<Exchange>();

/**
 * Tries, once for each open exchange, whether a request's files could be delivered: before the key is used, since a
 * signature that cannot be delivered still exists. Throws what a delivery would throw.
 */
export async function rehearseDelivery(context: SignerContext, { id, files }: Request): Promise<void> {
  const { exchange, config, log } = context;
  const [first] = files;
  if (!first || rehearsedExchanges.has(exchange)) return;
  const { outgoing, delivered } = config.exchange;
  const folder = posix.dirname(`${outgoing}/${deliveredPath(delivered, { request: id, name: first.name })}`);
  const rehearsal = await retry(context, `trying ${folder}`, () =>
    // Named after the request, so that after a crash the next try deletes it.
    exchange.rehearse(folder, { make: true, temporary: id.slice(0, 12) }),
  );
  rehearsedExchanges.add(exchange);
  if (rehearsal?.left)
    log.warn({ file: rehearsal.left }, `${rehearsal.left} stays there: the exchange refuses to delete it`);
}

import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { invalid, SignpipeError } from '../../lib/errors.ts';
import { PatchedSource } from '../../lib/bytes/patched-source.ts';
import { sha256OfSource } from '../../lib/bytes/hash.ts';
import { withFile, type ByteSource } from '../../lib/bytes/byte-source.ts';
import { incoming } from './fetch.ts';
import type { JournaledOutput } from './journal.ts';
import { deliveryContent, type Delivery } from './delivery-content.ts';
import type { NewBytes } from '../../protocol/exchange/exchange.ts';
import { underBar } from '../../lib/progress.ts';
import { retry } from './retry.ts';
import type { SignerContext } from './signer-context.ts';

type Assembled = JournaledOutput & { readonly assembly: NonNullable<JournaledOutput['assembly']> };

const isAssembled = (output: JournaledOutput): output is Assembled => output.assembly !== undefined;

const outgoing = (context: SignerContext, { name, path = name }: JournaledOutput): string =>
  `${context.config.exchange.outgoing}/${path}`;

/** Puts a signed file on the exchange; doing it again changes nothing. */
export async function deliverFile(
  context: SignerContext,
  output: JournaledOutput,
  delivery: Delivery,
): Promise<void> {
  const { name, size } = output;
  const fresh = { sha256: output.sha256, use: deliveryContent(context, output, delivery) };
  if (isAssembled(output) && (await isAssembledThere(context, output, fresh))) {
    context.log.info({ file: name, bytes: size }, `delivered ${name}, put together on the exchange`);
    return;
  }
  if (!isAssembled(output))
    await fresh.use((content) => deliverContent(context, output, content, output.sha256));
  else if (output.assembly.whole)
    await deliverFromParts(context, output, { ...output.assembly.whole, fresh, folder: delivery.folder });
  else await deliverRefetched(context, output, { fresh, folder: delivery.folder });
  context.log.info({ file: name, bytes: size }, `delivered ${outgoing(context, output)}`);
}

async function deliverContent(
  context: SignerContext,
  output: JournaledOutput,
  content: ByteSource,
  sha256: string,
): Promise<void> {
  const { name, size, temporary } = output;
  await retry(context, `delivering ${name}`, () =>
    underBar(context.progress, `deliver ${name}`, 'bytes', (onProgress) =>
      context.exchange.deliver(content, outgoing(context, output), {
        size,
        sha256,
        ...(temporary === undefined ? {} : { temporary }),
        onProgress,
      }),
    ),
  );
}

/** The new bytes of a file, and the work folder. */
interface Parts {
  readonly fresh: NewBytes;
  readonly folder: string;
}

/** The same out of the unsigned file, which lies here, and the new bytes. */
const deliverFromParts = (
  context: SignerContext,
  output: Assembled,
  { unsigned, sha256, fresh, folder }: Parts & { readonly unsigned: string; readonly sha256: string },
): Promise<void> =>
  withFile(join(folder, unsigned), (source) =>
    fresh.use((bytes) =>
      deliverContent(context, output, new PatchedSource(source, assemblyOf(output), bytes), sha256),
    ),
  );

const assemblyOf = ({
  size,
  assembly: { spans },
}: Assembled): { size: number; spans: Assembled['assembly']['spans'] } => ({
  size,
  spans,
});

/**
 * What an exchange may answer where the file can still be delivered by way of this machine: it does not
 * copy after all; or the unsigned file is not there any more as it was fetched, though we have it.
 */
const GIVES_WAY = ['exchange-no-copy'];
const GIVES_WAY_TO_OURS = [...GIVES_WAY, 'exchange-file-changed', 'exchange-verify-failed'];

/**
 * Has the exchange put the signed file together out of the unsigned one and the new bytes, where it can.
 * Doing it again changes nothing, also where the one replaced the other. Throws `exchange-file-changed`
 * when the unsigned file changed and there is no other copy of it.
 */
async function isAssembledThere(
  context: SignerContext,
  output: Assembled,
  fresh: NewBytes,
): Promise<boolean> {
  const { name, assembly } = output;
  const { modified } = assembly.source;
  if (modified === undefined) return false;
  const accepted = assembly.whole ? GIVES_WAY_TO_OURS : GIVES_WAY;
  return retry(context, `delivering ${name}`, async () => {
    try {
      if (assembly.whole && !(await context.exchange.canAssemble())) return false;
      await assembleThere(context, output, new Date(modified), fresh);
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
  output: Assembled,
  modified: Date,
  fresh: NewBytes,
): Promise<void> {
  const { name, assembly, temporary } = output;
  return underBar(context.progress, `deliver ${name}`, 'bytes', (onProgress) =>
    context.exchange.assemble(incoming(context, name), outgoing(context, output), {
      source: { size: assembly.source.size, modified },
      assembly: assemblyOf(output),
      fresh,
      ...(assembly.whole ? { sha256: assembly.whole.sha256 } : {}),
      ...(temporary === undefined ? {} : { temporary }),
      onProgress,
    }),
  );
}

/** By way of this machine, which has not seen the unsigned file as a whole yet. */
async function deliverRefetched(
  context: SignerContext,
  output: Assembled,
  { fresh, folder }: Parts,
): Promise<void> {
  const { name, assembly } = output;
  const unsigned = join(folder, 'unsigned');
  await retry(context, `fetching ${name}`, async () => {
    const now = await context.exchange.stat(incoming(context, name));
    if (now?.size !== assembly.source.size || now.modified.toISOString() !== assembly.source.modified)
      throw invalid('exchange-file-changed', `${name}: changed on the exchange after it was read`, {
        hint: 'make the request again, and leave the file alone until it is answered',
      });
    await context.exchange.fetch(incoming(context, name), unsigned, { limit: assembly.source.size });
  });
  await withFile(unsigned, (source) =>
    fresh.use(async (bytes) => {
      const content = new PatchedSource(source, assemblyOf(output), bytes);
      await deliverContent(context, output, content, await sha256OfSource(content));
    }),
  );
  await rm(unsigned, { force: true });
}

import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { invalid, SignpipeError } from '../../lib/errors.ts';
import { AssembledSource } from '../../lib/bytes/delta.ts';
import { sha256OfSource } from '../../lib/bytes/hash.ts';
import { withFile, type ByteSource } from '../../lib/bytes/byte-source.ts';
import { incoming } from './fetch.ts';
import type { JournaledOutput } from './journal.ts';
import { newBytesOf, type Delivery } from './delivery-content.ts';
import type { NewBytes } from '../../protocol/exchange/exchange.ts';
import { underBar } from '../../lib/progress.ts';
import { retrying } from './retry.ts';
import type { Site } from './signer-context.ts';

type Assembled = JournaledOutput & { readonly assembly: NonNullable<JournaledOutput['assembly']> };

const isAssembled = (output: JournaledOutput): output is Assembled => output.assembly !== undefined;

const outgoing = (site: Site, { name, path = name }: JournaledOutput): string =>
  `${site.config.exchange.outgoing}/${path}`;

/** Puts a signed file on the exchange; doing it again changes nothing. */
export async function deliverFile(site: Site, output: JournaledOutput, delivery: Delivery): Promise<void> {
  const { name, size } = output;
  const fresh = { sha256: output.sha256, use: newBytesOf(site, output, delivery) };
  if (isAssembled(output) && (await isAssembledThere(site, output, fresh))) {
    site.log.info({ file: name, bytes: size }, `delivered ${name}, put together on the exchange`);
    return;
  }
  if (!isAssembled(output))
    await fresh.use((content) => deliverContent(site, output, content, output.sha256));
  else if (output.assembly.whole)
    await deliverFromParts(site, output, { ...output.assembly.whole, fresh, folder: delivery.folder });
  else await deliverRefetched(site, output, { fresh, folder: delivery.folder });
  site.log.info({ file: name, bytes: size }, `delivered ${outgoing(site, output)}`);
}

async function deliverContent(
  site: Site,
  output: JournaledOutput,
  content: ByteSource,
  sha256: string,
): Promise<void> {
  const { name, size, temporary } = output;
  await retrying(site, `delivering ${name}`, () =>
    underBar(site.progress, `deliver ${name}`, 'bytes', (onProgress) =>
      site.exchange.deliver(content, outgoing(site, output), {
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
  site: Site,
  output: Assembled,
  { unsigned, sha256, fresh, folder }: Parts & { readonly unsigned: string; readonly sha256: string },
): Promise<void> =>
  withFile(join(folder, unsigned), (source) =>
    fresh.use((bytes) =>
      deliverContent(site, output, new AssembledSource(assemblyOf(output), source, bytes), sha256),
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
async function isAssembledThere(site: Site, output: Assembled, fresh: NewBytes): Promise<boolean> {
  const { name, assembly } = output;
  const { modified } = assembly.source;
  if (modified === undefined) return false;
  const accepted = assembly.whole ? GIVES_WAY_TO_OURS : GIVES_WAY;
  return retrying(site, `delivering ${name}`, async () => {
    try {
      if (assembly.whole && !(await site.exchange.canAssemble())) return false;
      await assembleThere(site, output, new Date(modified), fresh);
      return true;
    } catch (error) {
      if (!(error instanceof SignpipeError) || !accepted.includes(error.code)) throw error;
      site.log.warn({ code: error.code }, `${name} is moved as a whole after all: ${error.message}`);
      return false;
    }
  });
}

function assembleThere(site: Site, output: Assembled, modified: Date, fresh: NewBytes): Promise<void> {
  const { name, assembly, temporary } = output;
  return underBar(site.progress, `deliver ${name}`, 'bytes', (onProgress) =>
    site.exchange.assemble(incoming(site, name), outgoing(site, output), {
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
async function deliverRefetched(site: Site, output: Assembled, { fresh, folder }: Parts): Promise<void> {
  const { name, assembly } = output;
  const unsigned = join(folder, 'unsigned');
  await retrying(site, `fetching ${name}`, async () => {
    const now = await site.exchange.stat(incoming(site, name));
    if (now?.size !== assembly.source.size || now.modified.toISOString() !== assembly.source.modified)
      throw invalid('exchange-file-changed', `${name}: changed on the exchange after it was read`, {
        hint: 'make the request again, and leave the file alone until it is answered',
      });
    await site.exchange.fetch(incoming(site, name), unsigned, { limit: assembly.source.size });
  });
  await withFile(unsigned, (source) =>
    fresh.use(async (bytes) => {
      const content = new AssembledSource(assemblyOf(output), source, bytes);
      await deliverContent(site, output, content, await sha256OfSource(content));
    }),
  );
  await rm(unsigned, { force: true });
}

import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { invalid, SignpipeError } from '../errors.ts';
import type { RequestedFile } from '../control/zipname.ts';
import { FarFile } from '../exchange/far-file.ts';
import { sha256OfFile } from '../io/hash.ts';
import { writeAssembly } from '../io/assembly.ts';
import { withFile } from '../io/source.ts';
import type { JournaledOutput } from './journal.ts';
import { retrying } from './retrying.ts';
import type { Site } from './site.ts';

/** An output that is to be put together on the exchange. */
export type SparseOutput = JournaledOutput & { readonly assembly: NonNullable<JournaledOutput['assembly']> };

export const isSparse = (output: JournaledOutput): output is SparseOutput => output.assembly !== undefined;

const incoming = (site: Site, name: string): string => `${site.config.exchange.incoming}/${name}`;

/**
 * Opens a file where it lies, when nothing but some entries of it needs to be seen: they are pinned one
 * by one and the file as a whole is not, and the exchange can put the signed file together by itself.
 * Null when the whole of it must be fetched.
 */
export async function openFar(
  site: Site,
  { name, sha256, entries = [] }: RequestedFile,
  cache: string,
): Promise<FarFile | null> {
  if (entries.length === 0 || sha256 !== undefined || site.config.exchange.sparse === 'never') return null;
  const retry = <T>(action: () => Promise<T>): Promise<T> => retrying(site, `reading ${name}`, action);
  if (await retry(() => site.exchange.canAssemble()))
    return FarFile.open(site.exchange, incoming(site, name), { cache, retry, name });
  site.log.info({ file: name }, `${name} is moved as a whole: the exchange does not copy within itself`);
  return null;
}

/**
 * Has the exchange put a signed file together out of the unsigned one and the new bytes. Doing it again
 * changes nothing, also where the one replaced the other. Throws `exchange-file-changed`.
 */
export async function deliverSparse(site: Site, output: SparseOutput, folder: string): Promise<void> {
  const { name, assembly } = output;
  const { source, spans } = assembly;
  const asRead = { size: source.size, modified: new Date(source.modified) };
  try {
    await retrying(site, `delivering ${name}`, async () => {
      const bar = site.progress.start(`deliver ${name}`, 'bytes');
      try {
        await site.exchange.assemble(incoming(site, name), `${site.config.exchange.outgoing}/${name}`, {
          source: asRead,
          assembly: { size: output.size, spans },
          fresh: { file: join(folder, output.file), sha256: output.sha256 },
          ...(output.temporary === undefined ? {} : { temporary: output.temporary }),
          onProgress: bar.update,
        });
      } finally {
        bar.stop();
      }
    });
  } catch (error) {
    if (!(error instanceof SignpipeError) || error.code !== 'exchange-no-copy') throw error;
    site.log.warn({ code: error.code }, `${name} is moved as a whole after all: ${error.message}`);
    await deliverWhole(site, output, folder, asRead);
  }
}

/** The same by way of this machine, for an exchange that would not copy when it came to it. */
async function deliverWhole(
  site: Site,
  output: SparseOutput,
  folder: string,
  asRead: { readonly size: number; readonly modified: Date },
): Promise<void> {
  const { name, size, assembly, temporary } = output;
  const [unsigned, signed] = [join(folder, `${output.file}.unsigned`), join(folder, `${output.file}.signed`)];
  await retrying(site, `fetching ${name}`, async () => {
    const now = await site.exchange.stat(incoming(site, name));
    if (now?.size !== asRead.size || now.modified.getTime() !== asRead.modified.getTime())
      throw invalid('exchange-file-changed', `${name}: changed on the exchange after it was read`, {
        hint: 'make the request again, and leave the file alone until it is answered',
      });
    await site.exchange.fetch(incoming(site, name), unsigned, { limit: asRead.size });
  });
  await withFile(unsigned, (source) =>
    withFile(join(folder, output.file), (fresh) =>
      writeAssembly({ size, spans: assembly.spans }, source, fresh, signed),
    ),
  );
  const sha256 = await sha256OfFile(signed);
  await retrying(site, `delivering ${name}`, () =>
    withFile(signed, (content) =>
      site.exchange.deliver(content, `${site.config.exchange.outgoing}/${name}`, {
        size,
        sha256,
        ...(temporary === undefined ? {} : { temporary }),
      }),
    ),
  );
  await rm(unsigned, { force: true });
  await rm(signed, { force: true });
}

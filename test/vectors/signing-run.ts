import { readPeContent } from '../../src/engine/formats/pe/image-data.ts';
import type { SignableFile } from '../../src/engine/formats/signable-file.ts';
import { schemeOf } from '../../src/engine/authenticode/scheme-of.ts';
import { dosTimeOf, timeOfDos } from '../../src/lib/zip/edit-entries.ts';
import { DEFAULT_LIMITS } from '../../src/lib/zip/limits.ts';
import { readArchive } from '../../src/lib/zip/read-zip.ts';
import { MsiFile } from '../../src/engine/formats/msi/msi-file.ts';
import { fromFileTime } from '../../src/engine/formats/msi/signing-time.ts';
import type { SignOptions } from '../../src/engine/authenticode/sign.ts';
import { runOfPackage } from './package-run.ts';
import { runOfVsix } from './vsix-run.ts';

/** Times, ids and choices of the run that signed a file, with which another run gives the same bytes. */
export type SigningRun = Pick<
  SignOptions,
  'signingTime' | 'containerTime' | 'catalog' | 'opc' | 'pageHashes' | 'name' | 'url'
>;

/**
 * By format: reads from a signed file what signing puts there beside the signature, such as the modification time of an
 * MSI's root folder. A format without an entry has nothing of the kind.
 */
const READERS: Readonly<Record<string, (signed: SignableFile) => Promise<Partial<SigningRun>>>> = {
  pe: hasPageHashes,
  nuget: async ({ source }) => {
    const { entries } = await readArchive(source, DEFAULT_LIMITS);
    const entry = entries.find(({ path }) => path === '.signature.p7s');
    return { containerTime: entry && timeOfDos(dosTimeOf(entry)) };
  },
  vsix: runOfVsix,
  msix: (signed) => Promise.resolve(runOfPackage(signed)),
  // eslint-disable-next-line require-await -- the others read files
  msi: async (signed) =>
    signed instanceof MsiFile ? { containerTime: new Date(fromFileTime(signed.file.root.modified)) } : {},
};

/** What is to be given to `signProgram` so that it repeats the run that signed this file. */
export async function signingRunOf(signed: SignableFile): Promise<Partial<SigningRun>> {
  const [first] = signed.signatures;
  if (!first) return {};
  const { signingTime, description } = schemeOf(signed).read(first, signed.source.name);
  return {
    ...(signingTime && { signingTime }),
    ...(description.name !== null && { name: description.name }),
    ...(description.url !== null && { url: description.url }),
    ...(await READERS[signed.format]?.(signed)),
  };
}

function hasPageHashes(signed: SignableFile): Promise<Partial<SigningRun>> {
  const { signatures, source } = signed;
  const tables = signatures
    .slice(0, 1)
    .flatMap((der) => readPeContent(schemeOf(signed).read(der, source.name).content, source.name).pageHashes);
  return Promise.resolve({ pageHashes: tables.length > 0 });
}

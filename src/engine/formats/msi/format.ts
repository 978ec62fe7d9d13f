import { loadedOnce } from '../../../lib/concurrency/loaded-once.ts';
import { looksLikeCompoundFile } from '../../../lib/compound-file/header.ts';
import { readRootClsid } from '../../../lib/compound-file/root-clsid.ts';
import type { ByteSource } from '../../../lib/bytes/byte-source.ts';
import { isInvalid } from '../../../lib/errors.ts';
import type { FileFormat } from '../signable-file.ts';

const loadMsiFile = loadedOnce(() => import('./msi-file.ts'));
const loadDetached = loadedOnce(() => import('./detached.ts'));

/** CLSIDs of the root of a package, a patch and a transform, as they are stored ({000C1084-…} and so on). */
const CLSIDS: ReadonlySet<string> = new Set(
  ['84', '86', '82'].map((first) => `${first}100c0000000000c000000000000046`),
);

const EXTENSION = /\.ms[ipt]$/i;

/**
 * Word documents and many others are compound files too: the root tells, which may lie anywhere in the file. If it cannot
 * be found, the name decides whether to report that.
 */
async function hasPackageRoot(source: ByteSource): Promise<boolean> {
  try {
    return CLSIDS.has((await readRootClsid(source)).toString('hex'));
  } catch (error) {
    if (isInvalid(error)) return EXTENSION.test(source.name);
    throw error;
  }
}

export const msi: FileFormat = {
  name: 'msi',
  description: 'Windows Installer packages, patches and transforms: .msi, .msp, .mst',
  extensions: ['msi', 'msp', 'mst'],
  looksLike: looksLikeCompoundFile,
  confirm: hasPackageRoot,
  open: async (source) => (await loadMsiFile()).openMsi(source),
  detachedExtension: 'msisig',
  readDetached: async (detached, what) => (await loadDetached()).readDetachedMsi(detached, what),
};

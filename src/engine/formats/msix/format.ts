import { loadedOnce } from '../../../lib/concurrency/loaded-once.ts';
import { isZip } from '../../../lib/zip/end-of-central-directory.ts';
import type { ByteSource } from '../../../lib/bytes/byte-source.ts';
import { packageMarks } from '../package-marks.ts';
import type { FileFormat } from '../signable-file.ts';
import { isEncrypted } from './encrypted.ts';

const loadOpen = loadedOnce(() => import('./open.ts'));
const loadReadDetached = loadedOnce(() => import('./read-detached.ts'));

/** Names of entries, in lower case, any of which makes a zip a package, signed or not. */
const SURE_MARKS = [
  'appxblockmap.xml',
  'appxsignature.p7x',
  'appxmetadata/appxbundlemanifest.xml',
  'appxmetadata/codeintegrity.cat',
];

/** The folder of an unpacked package has a manifest too: only together with the content types is a zip a package. */
const MARKS_TOGETHER = ['appxmanifest.xml', '[content_types].xml'];

async function isPackage(source: ByteSource): Promise<boolean> {
  if (isEncrypted(await source.read(0, Math.min(4, source.size)))) return true;
  const marks = await packageMarks(source);
  return SURE_MARKS.some((mark) => marks.has(mark)) || MARKS_TOGETHER.every((mark) => marks.has(mark));
}

export const msix: FileFormat = {
  name: 'msix',
  description: 'MSIX and APPX packages and bundles: zips with a block map and a manifest',
  extensions: ['msix', 'msixbundle', 'appx', 'appxbundle'],
  isZip: true,
  looksLike: (head) => isZip(head) || isEncrypted(head),
  confirm: isPackage,
  open: async (source) => (await loadOpen()).openMsix(source),
  detachedExtension: 'msixsig',
  readDetached: async (detached, what) => (await loadReadDetached()).readDetachedMsix(detached, what),
};

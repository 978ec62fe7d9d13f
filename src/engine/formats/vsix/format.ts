import { loadedOnce } from '../../../lib/concurrency/loaded-once.ts';
import { isZip } from '../../../lib/zip/end-of-central-directory.ts';
import { packageMarks } from '../package-marks.ts';
import type { FileFormat } from '../signable-file.ts';

const loadVsixFile = loadedOnce(() => import('./vsix-file.ts'));
const loadSignatureParts = loadedOnce(() => import('./signature-parts.ts'));

/**
 * Recognised by its directory: a manifest of an extension beside the content types. Extensions of Visual Studio Code have the
 * same, and `extension/package.json`, but are no such packages: types and names are not those of parts, and their marketplace
 * signs them. They are zips of files.
 */
export const vsix: FileFormat = {
  name: 'vsix',
  description: 'Visual Studio extensions: .vsix, zips with extension.vsixmanifest and [Content_Types].xml',
  extensions: ['vsix'],
  isZip: true,
  looksLike: (head) => isZip(head),
  confirm: async (source) => {
    const marks = await packageMarks(source);
    if (!marks.has('[content_types].xml') || marks.has('extension/package.json')) return false;
    return [...marks].some((name) => name.endsWith('.vsixmanifest'));
  },
  open: async (source) => (await loadVsixFile()).openVsix(source),
  detachedExtension: 'opc',
  readDetached: async (detached, what) => (await loadSignatureParts()).readDetached(detached, what),
};

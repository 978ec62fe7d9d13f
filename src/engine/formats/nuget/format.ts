import { loadedOnce } from '../../../lib/concurrency/loaded-once.ts';
import { isZip } from '../../../lib/zip/end-of-central-directory.ts';
import { packageMarks } from '../package-marks.ts';
import type { FileFormat } from '../signable-file.ts';
import { requireRoom } from './size.ts';

const loadNugetFile = loadedOnce(() => import('./nuget-file.ts'));

/** Recognised by its directory: a manifest beside the content types, or a signature. */
export const nuget: FileFormat = {
  name: 'nuget',
  description: 'NuGet packages: .nupkg and .snupkg, zips with a .nuspec and [Content_Types].xml',
  extensions: ['nupkg', 'snupkg'],
  isZip: true,
  looksLike: (head) => isZip(head),
  confirm: async (source) => {
    const marks = await packageMarks(source);
    if (marks.has('.signature.p7s')) return true;
    return marks.has('[content_types].xml') && [...marks].some((name) => name.endsWith('.nuspec'));
  },
  requireSize: requireRoom,
  open: async (source) => (await loadNugetFile()).openNuGet(source),
  readDetached: async (kept, what) => (await loadNugetFile()).readDetached(kept, what),
};

import { invalid, type SignpipeError } from '../../../lib/errors.ts';
import { METHOD } from '../../../lib/zip/header-fields.ts';
import type { ContentTypes } from './content-types.ts';
import { readBundledPackages } from './manifest.ts';
import type { MsixPackage } from './package.ts';
import { isSamePart, PART } from './part-names.ts';

const differs = ({ source }: MsixPackage, why: string): SignpipeError =>
  invalid('msix-manifest-differs', `${source.name}: ${why}`, {
    hint: 'Windows would not install it; pack it again after its files have changed',
  });

/**
 * Requires that every file has a content type, and that a bundle's manifest gives the places and sizes of its packages.
 * Throws `msix-manifest-differs`.
 */
export function requireMatchingManifest(
  pkg: MsixPackage,
  { types, manifest }: { readonly types: ContentTypes; readonly manifest: Buffer },
): void {
  for (const { name } of pkg.payload)
    if (!types.covers(name)) throw differs(pkg, `[Content_Types].xml gives "${name}" no type`);
  if (!types.covers(PART.blockMap)) throw differs(pkg, '[Content_Types].xml gives the block map no type');
  if (pkg.kind === 'bundle') requirePackages(pkg, manifest);
}

function requirePackages(pkg: MsixPackage, manifest: Buffer): void {
  for (const { fileName, offset, size } of readBundledPackages(manifest, pkg.source.name)) {
    if (offset === null) continue;
    const entry = pkg.payload.find(({ name }) => isSamePart(name, fileName.replaceAll('\\', '/')))?.entry;
    if (!entry) throw differs(pkg, `its manifest lists "${fileName}", which it does not hold`);
    if (entry.method !== METHOD.stored)
      throw differs(pkg, `"${fileName}" is compressed, and Windows reads packages in a bundle as they are`);
    if (entry.dataStart !== offset || (size !== null && entry.size !== size))
      throw differs(
        pkg,
        `its manifest says that "${fileName}" has ${size} bytes at ${offset}, but it has ${entry.size} at ${entry.dataStart}`,
      );
  }
}

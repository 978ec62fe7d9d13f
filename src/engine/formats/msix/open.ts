import type { ByteSource } from '../../../lib/bytes/byte-source.ts';
import { readBlockMap } from './block-map.ts';
import { ContentTypes } from './content-types.ts';
import { readIdentity } from './manifest.ts';
import { MsixFile, type PackageParts } from './msix-file.ts';
import { readPackage, type MsixPackage } from './package.ts';
import { signatureEntryFindings, signatureIn } from './signature-entry.ts';

/** Opens a package or bundle; throws `msix-…`, `xml-…` and `zip-…`. */
export async function openMsix(source: ByteSource): Promise<MsixFile> {
  const pkg = await readPackage(source);
  const parts = await readParts(pkg);
  if (!pkg.signature) return new MsixFile(pkg, parts, null);
  const content = await pkg.archive.read(pkg.signature);
  return new MsixFile(pkg, parts, {
    der: signatureIn(content, source.name),
    findings: await signatureEntryFindings(pkg, pkg.signature, content),
  });
}

async function readParts(pkg: MsixPackage): Promise<PackageParts> {
  const { archive, source, kind } = pkg;
  const contentTypes = await archive.read(pkg.contentTypes);
  const blockMap = await archive.read(pkg.blockMap);
  const manifest = await archive.read(pkg.manifest);
  return {
    contentTypes,
    types: ContentTypes.read(contentTypes, source.name),
    blockMap,
    map: readBlockMap(blockMap, source.name),
    manifest,
    identity: readIdentity(manifest, kind, source.name),
    catalog: pkg.catalog && (await archive.read(pkg.catalog)),
  };
}

import { createHash, type Hash } from 'node:crypto';
import { invalid, type SignpipeError } from '../../../lib/errors.ts';
import { LOCAL, headerLength, METHOD } from '../../../lib/zip/header-fields.ts';
import { BLOCK, type BlockMap, type MappedFile } from './block-map.ts';
import type { MsixPackage, PayloadEntry } from './package.ts';
import { PART, isSamePart } from './part-names.ts';

const differs = (pkg: MsixPackage, name: string, why: string): SignpipeError =>
  invalid('msix-block-map-differs', `${pkg.source.name}: "${name}" ${why}`, {
    hint: 'Windows would not install it; pack it again after its files have changed',
  });

/** What follows the last block of a deflated file: an empty last deflate block, or nothing. */
const END_SIZES: ReadonlySet<number> = new Set([0, 2]);

/**
 * Requires that the block map lists every file of the payload, of a bundle only its manifest, and that sizes and hashes are
 * those of the content. Reads and unpacks everything. Throws `msix-block-map-differs`.
 */
export async function requireMatchingBlockMap(pkg: MsixPackage, map: BlockMap): Promise<void> {
  const files = new Map(map.files.map((file) => [file.name.toLowerCase(), file]));
  for (const each of pkg.payload) {
    const file = files.get(each.name.toLowerCase());
    files.delete(each.name.toLowerCase());
    if (!isMapped(pkg, each)) {
      if (file)
        throw differs(pkg, each.name, 'is listed in the block map, and a package in a bundle must not be');
    } else if (!file) throw differs(pkg, each.name, 'is not in the block map');
    else {
      requireSizes(pkg, each, file);
      await requireHashes(pkg, each, file, map);
    }
  }
  const [missing] = files.values();
  if (missing) throw differs(pkg, missing.name, 'is in the block map only');
}

/** The packages in a bundle have block maps of their own. */
const isMapped = ({ kind }: MsixPackage, { name }: PayloadEntry): boolean =>
  kind === 'package' || isSamePart(name, PART.bundleManifest);

function requireSizes(pkg: MsixPackage, { entry, name }: PayloadEntry, file: MappedFile): void {
  const length = headerLength(entry.local, LOCAL);
  if (file.size !== entry.size || file.blocks.length !== Math.ceil(entry.size / BLOCK))
    throw differs(
      pkg,
      name,
      `has ${entry.size} bytes, ${file.size} in ${file.blocks.length} blocks in the block map`,
    );
  if (file.headerSize !== null && file.headerSize !== length)
    throw differs(pkg, name, `has a header of ${length} bytes, ${file.headerSize} in the block map`);
  const deflated = entry.method === METHOD.deflated;
  if (file.blocks.some(({ size }) => (size !== null) !== deflated))
    throw differs(pkg, name, `is ${deflated ? '' : 'not '}compressed, unlike in the block map`);
  const compressed = file.blocks.reduce((sum, { size }) => sum + (size ?? 0), 0);
  if (deflated && !END_SIZES.has(entry.compressedSize - compressed))
    throw differs(pkg, name, `has ${entry.compressedSize} compressed bytes, ${compressed} in the block map`);
}

async function requireHashes(
  pkg: MsixPackage,
  { entry, name }: PayloadEntry,
  file: MappedFile,
  { hash }: BlockMap,
): Promise<void> {
  const whole = file.fileHash && createHash(hash);
  let block = createHash(hash);
  let [index, filled] = [0, 0];
  const endBlock = (): void => {
    requireHash(pkg, name, block, file.blocks[index]?.hash);
    block = createHash(hash);
    [index, filled] = [index + 1, 0];
  };
  for await (const chunk of await pkg.archive.open(entry)) {
    whole?.update(chunk);
    for (let at = 0; at < chunk.length;) {
      const part = chunk.subarray(at, at + BLOCK - filled);
      block.update(part);
      [at, filled] = [at + part.length, filled + part.length];
      if (filled === BLOCK) endBlock();
    }
  }
  if (filled > 0) endBlock();
  if (whole) requireHash(pkg, name, whole, file.fileHash);
}

function requireHash(
  pkg: MsixPackage,
  name: string,
  actual: Hash,
  expected: Buffer | null | undefined,
): void {
  if (!expected || !actual.digest().equals(expected))
    throw differs(pkg, name, 'has another hash than in the block map');
}

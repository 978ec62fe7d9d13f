import { invalid } from '../../../lib/errors.ts';
import { shown, whyUnsafe } from '../../../lib/zip/entry-paths.ts';

/** The parts that a package consists of besides its payload; compared without regard to case (ECMA-376 part 2, 6.2.2.3). */
export const PART = {
  contentTypes: '[Content_Types].xml',
  blockMap: 'AppxBlockMap.xml',
  manifest: 'AppxManifest.xml',
  bundleManifest: 'AppxMetadata/AppxBundleManifest.xml',
  catalog: 'AppxMetadata/CodeIntegrity.cat',
  signature: 'AppxSignature.p7x',
} as const;

export const isSamePart = (one: string, other: string): boolean => one.toLowerCase() === other.toLowerCase();

/**
 * The name of a part as manifest and block map write it, with `/`: entries of a package have escaped names (RFC 3986), so
 * that `data/%C3%A4.txt` holds `data/ä.txt`. Throws `msix-entry-name`.
 */
export function partName(path: string, what: string): string {
  let name: string;
  try {
    name = decodeURIComponent(path);
  } catch (error) {
    throw invalid('msix-entry-name', `${what}: entry ${shown(path)} has a name with a malformed escape`, {
      cause: error,
    });
  }
  const why = whyUnsafe(name) ?? (name.includes('\\') ? 'has a backslash in its name' : null);
  if (why) throw invalid('msix-entry-name', `${what}: entry ${shown(path)} ${why}`);
  return name;
}

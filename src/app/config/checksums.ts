import { z } from 'zod';
import { path, resolvePaths, type ResolvePath } from './common-sections.ts';

const keyFile = z.strictObject({ key: path, passphraseFile: path.optional() });

/** The section `checksums`: which keys sign the checksum files; without a key, the files are not signed. */
export const checksums = z.strictObject({ ssh: keyFile.optional() });

/** The section `checksums` of a channel. */
export type ChecksumsConfig = z.output<typeof checksums>;

/** Makes the paths of a section `checksums` absolute. */
export function resolveChecksums(section: ChecksumsConfig, resolve: ResolvePath): ChecksumsConfig {
  const keys = Object.entries(section).filter(([, settings]) => settings !== undefined);
  return Object.fromEntries(keys.map(([kind, settings]) => [kind, resolvePaths(settings ?? {}, resolve)]));
}

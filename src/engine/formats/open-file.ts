import { invalid } from '../../lib/errors.ts';
import type { ByteSource } from '../../lib/bytes/byte-source.ts';
import { looksLikePe, openPe } from './pe/pe-file.ts';
import type { SignableImage } from './signable-file.ts';

export { requireRoom } from './pe/pe-file.ts';

/** How many leading bytes `isSignable` likes to see. */
export const HEAD_SIZE = 4096;

/**
 * Cheap recognition from a file's first bytes, ideally `HEAD_SIZE` of them. True means that
 * `openImage` is worth a try, not that it will succeed: a header beyond `head` is taken on trust.
 */
export const isSignable = (head: Buffer): boolean => looksLikePe(head);

/** Opens a file for signing or verifying, recognised by content; throws `not-signable` or `pe-…`. */
export async function openImage(source: ByteSource): Promise<SignableImage> {
  const head = await source.read(0, Math.min(source.size, HEAD_SIZE));
  if (looksLikePe(head)) return openPe(source);
  throw invalid('not-signable', `${source.name}: not a file that can carry an Authenticode signature`, {
    hint: 'PE files can: .exe, .dll, .sys, .efi and their like; they begin with MZ and hold a PE header',
  });
}

/** A file, or the same opened already: whoever asks several things of one opens it first, and has it read once. */
export type Openable = ByteSource | SignableImage;

const isOpen = (file: Openable): file is SignableImage => 'format' in file;

/** The file itself. */
export const sourceOf = (file: Openable): ByteSource => (isOpen(file) ? file.source : file);

/** As `openImage`, of a file that may be open already. */
export const opened = async (file: Openable): Promise<SignableImage> =>
  isOpen(file) ? file : openImage(file);

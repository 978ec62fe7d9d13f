import { invalid } from '../../lib/errors.ts';
import { printable } from '../../lib/printable.ts';
import { readWithoutFile } from '../authenticode/signature-without-file.ts';
import { extensionOf } from '../formats/file-extension.ts';
import { FORMATS } from '../formats/registry.ts';
import type { FileFormat, SignableFile, SignatureWithoutFile } from '../formats/signable-file.ts';

/*
 * Signatures that are kept apart from their files, in receipts and by `signature extract`.
 */

/** The format of receipts that name none, since there was no other one. */
const FIRST_FORMAT = 'pe';

const formatNamed = (name: string): FileFormat | undefined => FORMATS.find((each) => each.name === name);

/**
 * Reads a detached signature without the file that it belongs to. `format` is the name
 * in the receipt. Throws `format-unknown`, and what the format throws if it cannot be read.
 */
export async function readDetached(
  detached: Buffer,
  format: string | undefined,
  what: string,
): Promise<readonly SignatureWithoutFile[]> {
  const known = formatNamed(format ?? FIRST_FORMAT);
  if (!known)
    throw invalid(
      'format-unknown',
      `${what}: of a format that is not known here: ${printable(format ?? '', 40)}`,
      {
        hint: 'a later version of signpipe wrote it: install that one',
      },
    );
  return (await known.readDetached?.(detached, what)) ?? readWithoutFile(detached, what);
}

/**
 * The file name of a detached signature in receipts, by the SHA-256 of the unsigned bytes. If only the name says what a
 * file is, the extension belongs to it: the same bytes as `a.js` and as `a.vbs` are signed differently.
 */
export function detachedName({ format, source }: SignableFile, sha256: string): string {
  const known = formatNamed(format);
  const extension = extensionOf(source.name) ?? '';
  const distinguishing = known?.byName && known.extensions.includes(extension) ? [extension] : [];
  return [sha256, ...distinguishing, known?.detachedExtension ?? 'p7'].join('.');
}

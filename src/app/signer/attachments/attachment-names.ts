import { notAllowed } from '../../../lib/errors.ts';
import { nameProblem } from '../../../protocol/control/zipname.ts';

/** What follows a file's name in the name of its checksum file. */
export const SUMS_SUFFIX = '.SHA256SUMS';

/** Ends of names that only this signer delivers; compared in lower case, since some file systems ignore case. */
const RESERVED = /\.(?:sha256sums(?:\.asc|\.sig|\.minisig)?|intoto\.jsonl)$/;
/** The longest of them. */
const LONGEST = `${SUMS_SUFFIX}.minisig`;

/**
 * Throws `name-reserved` for a requested name that a checksum file or the like has or could have, whatever the channel:
 * a builder could replace those of other files. With `attached`, throws `name-too-long` if names of files beside it
 * would be longer than a name may be.
 */
export function requireAttachableName(name: string, attached: boolean): void {
  if (RESERVED.test(name.toLowerCase()))
    throw notAllowed('name-reserved', `${name}: the signer itself delivers files with such a name`, {
      hint: 'request the file under another name',
    });
  if (attached && nameProblem(`${name}${LONGEST}`) !== null)
    throw notAllowed('name-too-long', `${name}: too long for the checksum files or provenance beside it`, {
      hint: `request it under a name that is ${LONGEST.length} bytes shorter than the longest permitted`,
    });
}

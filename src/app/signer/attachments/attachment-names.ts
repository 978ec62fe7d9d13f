import { notAllowed } from '../../../lib/errors.ts';
import { nameProblem } from '../../../protocol/control/zipname.ts';

/** What follows a file's name in the name of its checksum file. */
export const SUMS_SUFFIX = '.SHA256SUMS';

/** Ends of names that only this signer delivers. */
const RESERVED = /\.(?:sha256sums(?:\.asc|\.sig|\.minisig)?|intoto\.jsonl)$/;
/** The longest of them. */
const LONGEST = `${SUMS_SUFFIX}.minisig`;

/** Without the dots and spaces at its end, which Windows ignores. */
function withoutEnd(segment: string): string {
  let end = segment.length;
  while (end > 0 && ['.', ' '].includes(segment.charAt(end - 1))) end -= 1;
  return segment.slice(0, end);
}

/** A name as file systems compare it that ignore case and, as Windows does, what `withoutEnd` removes. */
const comparable = (name: string): string => name.toLowerCase().split('/').map(withoutEnd).join('/');

/**
 * Throws unless the signer can deliver other files beside all of these, which a request names; none of them has to be
 * there.
 *
 * - `name-reserved`, whatever the channel: a file, or a folder around it, has a name that a checksum file or the like has
 *   or could have. A builder could replace those of other files, or keep them from being delivered.
 * - `name-too-long`, with `attached`: names of files beside it would be longer than a name may be.
 * - `names-alike`, with `attached`: two of them are one name on file systems that ignore case, so that a reader there
 *   could not download both with what lies beside them.
 */
export function requireAttachableNames(names: readonly string[], attached: boolean): void {
  const taken = new Map<string, string>();
  for (const name of names) {
    const compared = comparable(name);
    if (compared.split('/').some((segment) => RESERVED.test(segment)))
      throw notAllowed('name-reserved', `${name}: the signer itself delivers files with such a name`, {
        hint: 'request the file under another name',
      });
    if (!attached) continue;
    if (nameProblem(`${name}${LONGEST}`) !== null)
      throw notAllowed('name-too-long', `${name}: too long for the checksum files or provenance beside it`, {
        hint: `request it under a name that is ${LONGEST.length} bytes shorter than the longest permitted`,
      });
    const other = taken.get(compared);
    if (other !== undefined)
      throw notAllowed('names-alike', `${other} and ${name} are one name on file systems that ignore case`, {
        hint: 'give one of them another name, or request them one after the other',
      });
    taken.set(compared, name);
  }
}

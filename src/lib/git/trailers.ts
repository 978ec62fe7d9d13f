import { printable } from '../printable.ts';

/** How much of a message's end is searched, in characters. */
const TAIL = 64 * 1024;

const TRAILER = /^([A-Za-z0-9-]+)[ \t]*:(.*)$/s;
/** Lines that Git itself writes. A paragraph that contains one may also contain other lines. */
const GENERATED = /^(Signed-off-by: |\(cherry picked from commit )/;

export interface Trailer {
  key: string;
  value: string;
}

const blank = (line: string | undefined): boolean => line !== undefined && line.trim() === '';

/** The lines of the last paragraph, unless it is also the first, which is the subject. */
function lastParagraph(message: string): string[] {
  const lines = message.slice(-TAIL).split('\n');
  while (lines.length > 0 && blank(lines.at(-1))) lines.pop();
  const before = lines.findLastIndex(blank);
  const isSubject = lines.slice(0, Math.max(before, 0)).every(blank);
  return before < 0 || isSubject ? [] : lines.slice(before + 1);
}

/**
 * The trailers of a commit message, as `git interpret-trailers --parse --no-divider` finds them: the last
 * paragraph if all its lines are trailers, or if Git wrote one of them and at least a quarter are.
 * Values are unfolded and trimmed; keys keep their case; a repeated key is listed each time.
 */
export function parseTrailers(message: string): Trailer[] {
  const trailers: Trailer[] = [];
  let others = 0;
  let generated = false;
  let open = false;
  for (const line of lastParagraph(message)) {
    if (line.startsWith('#')) continue;
    generated ||= GENERATED.test(line);
    const match = TRAILER.exec(line);
    const last = trailers.at(-1);
    if (/^[ \t]/.test(line) && open && last) last.value = `${last.value} ${line.trim()}`.trim();
    else if (match) trailers.push({ key: match[1] ?? '', value: (match[2] ?? '').trim() });
    else if (!GENERATED.test(line)) others++;
    open = match !== null || (open && /^[ \t]/.test(line));
  }
  const accepted = others === 0 || (generated && trailers.length * 3 >= others);
  return accepted ? trailers : [];
}

/** All values of one trailer. Case does not count in keys, as in Git. */
export const trailerValues = (trailers: readonly Trailer[], key: string): string[] =>
  trailers.filter((each) => each.key.toLowerCase() === key.toLowerCase()).map(({ value }) => value);

/** A trailer block for a new message: each value on one line, with nothing in it that could start another trailer. */
export const formatTrailers = (trailers: readonly Trailer[]): string =>
  trailers.map(({ key, value }) => `${key}: ${printable(value)}\n`).join('');

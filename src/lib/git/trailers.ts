import { printable } from '../printable.ts';

/** How much of a message's end is looked at, in characters. */
const TAIL = 64 * 1024;

const TRAILER = /^([A-Za-z0-9-]+)[ \t]*:(.*)$/s;
/** Lines that Git writes itself; with one of them, a block may hold a share of other lines. */
const GENERATED = /^(Signed-off-by: |\(cherry picked from commit )/;

export interface Trailer {
  key: string;
  value: string;
}

/** The trailers of a message, as git finds them, and what stands in lines that git does not take for trailers. */
export type Trailers = Trailer[] & {
  /** The values of all lines `Vouch:`, wherever they stand. */
  readonly vouches: readonly string[];
};

/**
 * The trailer that names a root of the control repository that a request or a vouch is meant for. It counts on any
 * line, in any spelling: an author who names a repository must not be heard in another one because of an empty line
 * or a leading blank.
 */
export const CONTROL_TRAILER = 'Control';

/**
 * The trailer that makes a signed commit a vouch and nothing else. Without it a Git host could merge a branch of
 * vouches into that of requests, and each vouch would be a request that its author never made.
 *
 * It counts on any line. `git commit --trailer` may put it where `git interpret-trailers --parse` does not find it
 * (before a line `---`, for instance), and an author who wrote it must not be taken to have made a request.
 */
export const VOUCH_TRAILER = 'Vouch';

/** Lines may end as in any editor, and begin with blanks or a byte order mark. */
const VOUCH_LINE = /^[\s\uFEFF\u200B]{0,64}vouch[ \t\u00A0]{0,64}:(.*)$/i;
const CONTROL_LINE = /^[\s\uFEFF\u200B]{0,64}control[ \t\u00A0]{0,64}:(.*)$/i;
const LINE_ENDS = /\r\n|[\n\r\v\f\u0085\u2028\u2029]/;

function vouchesIn(message: string): string[] {
  // Only for speed: most messages have no such word.
  if (!/vouch/i.test(message)) return [];
  return message.split(LINE_ENDS).flatMap((line) => VOUCH_LINE.exec(line)?.[1]?.trim() ?? []);
}

/** A whole id, or all of a value that can be an abbreviated one. */
const ROOT_IDS = /(?<![0-9a-z])[0-9a-f]{40,64}(?![0-9a-z])|^[0-9a-f]{7,64}$/gi;

/**
 * The roots that lines `Control:` of a message name, in lower case: ids, whole or abbreviated, on the line or, if that
 * is empty, on the next. A line without an id is about something else: `control: read the flow graph`.
 */
export function rootsNamed(message: string): string[] {
  if (!/control/i.test(message)) return [];
  const lines = message.split(LINE_ENDS);
  return lines.flatMap((line, index) => {
    const value = CONTROL_LINE.exec(line)?.[1]?.trim();
    if (value === undefined) return [];
    const next = lines[index + 1] ?? '';
    const text = value === '' && /^[ \t]/.test(next) ? next.trim() : value;
    return text.match(ROOT_IDS)?.map((id) => id.toLowerCase()) ?? [];
  });
}

const blank = (line: string | undefined): boolean => line !== undefined && line.trim() === '';

/** The lines of the last paragraph, unless it is the first too, which is the subject. */
function lastParagraph(message: string): string[] {
  const lines = message.slice(-TAIL).split('\n');
  while (lines.length > 0 && blank(lines.at(-1))) lines.pop();
  const before = lines.findLastIndex(blank);
  const isSubject = lines.slice(0, Math.max(before, 0)).every(blank);
  return before < 0 || isSubject ? [] : lines.slice(before + 1);
}

/**
 * The trailers of a commit message, as `git interpret-trailers --parse --no-divider` finds them: the last
 * paragraph when all its lines are trailers, or when Git wrote one of them and at least a quarter are.
 * Values are unfolded and trimmed; keys keep their case; repeated keys come repeatedly.
 */
export function parseTrailers(message: string): Trailers {
  // Not enumerable: callers that list the trailers get those that git finds.
  return Object.defineProperty(trailersOf(message), 'vouches', { value: vouchesIn(message) }) as Trailers;
}

function trailersOf(message: string): Trailer[] {
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

const sameKey = (a: string, b: string): boolean => a.toLowerCase() === b.toLowerCase();

/** All values of one trailer; case does not count in keys, as in Git. `Vouch` counts on any line of the message. */
export const trailerValues = (trailers: Trailers, key: string): string[] =>
  sameKey(key, VOUCH_TRAILER)
    ? [...trailers.vouches]
    : trailers.filter((each) => sameKey(each.key, key)).map(({ value }) => value);

/** Whether the author of a message meant a vouch. */
export const isVouchMessage = (message: string): boolean => vouchesIn(message).length > 0;

/** A trailer block for a message that we write: values on one line each, nothing in them that could start another. */
export const formatTrailers = (trailers: readonly Trailer[]): string =>
  trailers.map(({ key, value }) => `${key}: ${printable(value)}\n`).join('');

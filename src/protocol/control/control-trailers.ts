/**
 * The trailers that decide what a commit is, and for which repository. Both count on any line of the message, in any
 * case and indented: an author who wrote one must not be misunderstood because of an empty line or a leading blank,
 * or because `git commit --trailer` put it where `git interpret-trailers --parse` does not find it (before a line
 * `---`, for instance).
 */

/** Names a root of the control repository that a request or a vouch is meant for. */
export const CONTROL_TRAILER = 'Control';

/**
 * Makes a signed commit a vouch and nothing else. Without it a Git host could merge a branch of vouches into that of
 * requests, and each vouch would be a request that its author never made.
 */
export const VOUCH_TRAILER = 'Vouch';

/** Lines may end as in any editor, and begin with blanks or a byte order mark. */
const LINE_ENDS = /\r\n|[\n\r\v\f\u0085\u2028\u2029]/;
const VOUCH_LINE = /^[\s\uFEFF\u200B]{0,64}vouch[ \t\u00A0]{0,64}:/i;
const CONTROL_LINE = /^[\s\uFEFF\u200B]{0,64}control[ \t\u00A0]{0,64}:(.*)$/i;

/** Whether the author of a message meant a vouch. */
export const isVouchMessage = (message: string): boolean =>
  // Only for speed: most messages do not contain the word.
  /vouch/i.test(message) && message.split(LINE_ENDS).some((line) => VOUCH_LINE.test(line));

/** A whole id, or all of a value that can be an abbreviated one. */
const ROOT_IDS = /(?<![0-9a-z])[0-9a-f]{40,64}(?![0-9a-z])|^[0-9a-f]{7,64}$/gi;

/**
 * The roots that lines `Control:` of a message name, in lower case: ids, whole or abbreviated, on the line or, if that
 * is empty, on the next. A line without an id is about something else: `control: read the flow graph`.
 */
export function rootsNamed(message: string): string[] {
  // Only for speed, as for vouches.
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

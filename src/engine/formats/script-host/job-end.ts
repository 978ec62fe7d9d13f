import { invalid } from '../../../lib/errors.ts';

/*
 * The signature of a .wsf file stands before the end tag of its job. No file that Windows signed has several, so that it is not
 * known which one counts; and the tag must be one to every reader, not text in a comment or a script.
 */

const HINT =
  'have one <job>, whose end tag is written </job> and stands outside of comments and CDATA sections';

/** The position of `</job>`; throws `wsf-no-job`, `wsf-several-jobs` or `wsf-job-hidden`. */
export function jobEndIn(text: string, name: string): number {
  const tags = [...limited(text.matchAll(/<\/\s*job\b[^>]{0,64}>?/gi))];
  const [tag, another] = tags;
  if (!tag)
    throw invalid('wsf-no-job', `${name}: it has no </job>, before which its signature belongs`, {
      hint: HINT,
    });
  if (another || tag[0] !== '</job>')
    throw invalid('wsf-several-jobs', `${name}: it does not have exactly one </job>`, { hint: HINT });
  const before = text.slice(0, tag.index);
  if (
    PAIRS.some(([open, close]) => isOpen(before, open, close)) ||
    isInScript(before) ||
    !/>\s*$/.test(before.slice(-4096))
  )
    throw invalid('wsf-job-hidden', `${name}: its </job> lies in a comment, a script or other text`, {
      hint: HINT,
    });
  return tag.index;
}

/** Two suffice to know that there are several. */
function* limited<T>(all: Iterable<T>): Iterable<T> {
  let count = 0;
  for (const each of all) {
    yield each;
    if (++count === 2) return;
  }
}

/** What is no markup inside: comments, CDATA sections and processing instructions. */
const PAIRS = [
  ['<!--', '-->'],
  ['<![CDATA[', ']]>'],
  ['<?', '?>'],
] as const;

/**
 * Whether the last start tag of a script has no end tag, in a text in which each comment ends: outside of XML, a script may
 * hold any text.
 */
function isInScript(text: string): boolean {
  const lower = text.replaceAll(/<!--[^]*?-->/g, '').toLowerCase();
  const begins = lower.lastIndexOf('<script');
  if (begins < 0 || lower.includes('</script', begins)) return false;
  const ends = lower.indexOf('>', begins);
  return ends < 0 || lower[ends - 1] !== '/';
}

/** Whether what `open` begins is not ended at the end of the text. */
function isOpen(text: string, open: string, close: string): boolean {
  const begins = text.lastIndexOf(open);
  return begins >= 0 && text.indexOf(close, begins + open.length) < 0;
}

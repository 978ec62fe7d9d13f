/** A start tag, an empty-element tag or an end tag in the text of a document; `broken` at the first markup that is none. */
export interface Tag {
  readonly start: number;
  readonly end: number;
  readonly kind: 'start' | 'empty' | 'end' | 'broken';
  /** With its prefix. */
  readonly name: string;
  /** How many values in quotation marks it has. */
  readonly values: number;
}

/** What is no tag, by how it begins and ends; what begins longer is first. */
const OTHERS: readonly (readonly [start: string, end: string])[] = [
  ['<!--', '-->'],
  ['<![CDATA[', ']]>'],
  ['<?', '?>'],
  ['<!', '>'],
];

const TAG = /<(\/?)([^\s"'<>/]+)(?:[^"'<>]|"[^"]*"|'[^']*')*>/y;
const VALUE = /"[^"]*"|'[^']*'/g;

/**
 * The tags in the text of a document, in order, without those in comments and the like; in time proportional to its length.
 * The scan ends at the first markup that does not end.
 */
export function* scanTags(text: string): Generator<Tag> {
  for (let at = text.indexOf('<'); at >= 0; at = text.indexOf('<', at)) {
    const other = OTHERS.find(([start]) => text.startsWith(start, at));
    if (other) {
      const [start, end] = other;
      const endsAt = text.indexOf(end, at + start.length);
      if (endsAt < 0) return yield broken(at);
      at = endsAt + end.length;
    } else {
      TAG.lastIndex = at;
      const match = TAG.exec(text);
      if (!match) return yield broken(at);
      yield tagOf(match, at);
      at += match[0].length;
    }
  }
}

const broken = (start: number): Tag => ({ start, end: start, kind: 'broken', name: '', values: 0 });

function tagOf([tag, slash, name = '']: RegExpExecArray, start: number): Tag {
  const kind = slash ? 'end' : tag.endsWith('/>') ? 'empty' : 'start';
  return { start, end: start + tag.length, kind, name, values: tag.match(VALUE)?.length ?? 0 };
}

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

const NAME = /<\/?([^\s"'<>/]+)/y;
/** A value in quotation marks, or what is between two of them. */
const PIECE = /("[^"]*"|'[^']*')|[^"'<>]+/y;

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
      const tag = tagAt(text, at);
      yield tag;
      if (tag.kind === 'broken') return;
      at = tag.end;
    }
  }
}

const broken = (start: number): Tag => ({ start, end: start, kind: 'broken', name: '', values: 0 });

/** Piece by piece: one expression for a whole tag would need memory for each of its attributes. */
function tagAt(text: string, start: number): Tag {
  NAME.lastIndex = start;
  const name = NAME.exec(text)?.[1];
  if (name === undefined) return broken(start);
  let values = 0;
  PIECE.lastIndex = NAME.lastIndex;
  let end = PIECE.lastIndex;
  for (let piece = PIECE.exec(text); piece; piece = PIECE.exec(text)) {
    if (piece[1] !== undefined) values += 1;
    end = PIECE.lastIndex;
  }
  if (text[end] !== '>') return broken(start);
  const kind = text[start + 1] === '/' ? 'end' : text[end - 1] === '/' ? 'empty' : 'start';
  return { start, end: end + 1, kind, name, values };
}

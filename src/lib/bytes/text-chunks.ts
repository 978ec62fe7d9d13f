/** UTF-16 units of a stretch. */
const STRETCH = 64 * 1024;

const isHighSurrogate = (unit: number): boolean => unit >= 0xd800 && unit <= 0xdbff;

/**
 * A long text that comes in pieces, in stretches fit to be written one by one: short pieces are joined, long ones
 * cut, no character in two.
 */
export function* textChunks(pieces: Iterable<string>): Generator<string> {
  let text = '';
  for (const piece of pieces) {
    text += piece;
    while (text.length > STRETCH) {
      const end = isHighSurrogate(text.charCodeAt(STRETCH - 1)) ? STRETCH - 1 : STRETCH;
      yield text.slice(0, end);
      text = text.slice(end);
    }
  }
  if (text !== '') yield text;
}

/** The size of a chunk in UTF-16 units. */
const CHUNK = 64 * 1024;

const isHighSurrogate = (unit: number): boolean => unit >= 0xd800 && unit <= 0xdbff;

/**
 * Divides a long text, given in pieces, into chunks for writing: joins short pieces and cuts long ones, never within a
 * character.
 */
export function* textChunks(pieces: Iterable<string>): Generator<string> {
  let text = '';
  for (const piece of pieces) {
    text += piece;
    while (text.length > CHUNK) {
      const end = isHighSurrogate(text.charCodeAt(CHUNK - 1)) ? CHUNK - 1 : CHUNK;
      yield text.slice(0, end);
      text = text.slice(end);
    }
  }
  if (text !== '') yield text;
}

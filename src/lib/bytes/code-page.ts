/** Windows code pages by number, with their names in the Encoding Standard. */
const ENCODINGS: ReadonlyMap<number, string> = new Map([
  [932, 'shift_jis'],
  [936, 'gbk'],
  [949, 'korean'],
  [950, 'big5'],
  ...[874, 1250, 1251, 1253, 1254, 1255, 1256, 1257, 1258].map((page) => [page, `windows-${page}`] as const),
  [65_001, 'utf-8'],
]);

/** What windows-1252 has at 0x80 to 0x9f, where Latin-1 has control characters; five bytes are not in use. */
const PUNCTUATION = '€\u0081‚ƒ„…†‡ˆ‰Š‹Œ\u008dŽ\u008f\u0090‘’“”•–—˜™š›œ\u009džŸ';

/**
 * Text in windows-1252. Not by TextDecoder: that of Node.js 20 takes it for Latin-1.
 */
export const decodeWindows1252 = (bytes: Buffer): string =>
  bytes
    .toString('latin1')
    .replaceAll(/[\u0080-\u009f]/g, (control) => PUNCTUATION[control.charCodeAt(0) - 0x80] ?? control);

/** Decodes text of a Windows code page; a page that is not known is taken for windows-1252. */
export function codePageDecoder(codePage: number): (bytes: Buffer) => string {
  const encoding = ENCODINGS.get(codePage);
  if (encoding === undefined) return decodeWindows1252;
  const decoder = new TextDecoder(encoding, { ignoreBOM: true });
  return (bytes) => decoder.decode(bytes);
}

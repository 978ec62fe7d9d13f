/** First bytes of an AppleDouble file (RFC 1740 appendix B). */
const MAGIC = Buffer.from('00051607', 'hex');

/**
 * Whether an entry is what macOS packs beside a file for its resource fork and attributes: `._NAME`, with the
 * content of an AppleDouble file. It bears the name of a program, and is none.
 */
export const isAppleDouble = (path: string, head: Buffer): boolean =>
  path.slice(path.lastIndexOf('/') + 1).startsWith('._') && head.subarray(0, MAGIC.length).equals(MAGIC);

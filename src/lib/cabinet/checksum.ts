/**
 * [MS-CAB] section 3.1: XOR of the little-endian words of `bytes`; one to three bytes at the end form a word with the
 * first of them highest.
 */
export function cabinetChecksum(bytes: Buffer, seed = 0): number {
  const count = bytes.length >>> 2;
  let sum = seed;
  for (let index = 0, at = 0; index < count; index++, at += 4) sum ^= bytes.readInt32LE(at);
  let rest = 0;
  for (let at = count * 4; at < bytes.length; at++) rest = (rest << 8) | (bytes[at] ?? 0);
  return (sum ^ rest) >>> 0;
}

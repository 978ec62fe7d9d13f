import { isInvalid } from '../errors.ts';
import type { ByteSource } from '../bytes/byte-source.ts';
import { readEnd } from './end-of-central-directory.ts';
import { CENTRAL, CENTRAL_SIGNATURE, headerLength, nameOf } from './header-fields.ts';

/** Longest directory that is looked through, in bytes: ten times that of a zip of 20,000 entries. */
const LONGEST_DIRECTORY = 32 * 1024 * 1024;

/**
 * The names in a zip's directory that match, in lower case and with `/`: enough to distinguish a package from other zips, for a
 * few milliseconds, whatever its number of entries. Nothing is checked: a file that is no sound zip has the names up to
 * its first fault, or none. Names are decoded as Latin-1, so `pattern` may ask only for ASCII.
 */
export async function scanNames(source: ByteSource, pattern: RegExp): Promise<ReadonlySet<string>> {
  const directory = await directoryOf(source);
  const names = new Set<string>();
  for (let at = 0; at + CENTRAL.size <= directory.length;) {
    if (directory.readUInt32LE(at) !== CENTRAL_SIGNATURE) break;
    const header = directory.subarray(at);
    const name = nameOf(header, CENTRAL).toString('latin1').toLowerCase().replaceAll('\\', '/');
    if (pattern.test(name)) names.add(name);
    at += headerLength(header, CENTRAL);
  }
  return names;
}

async function directoryOf(source: ByteSource): Promise<Buffer> {
  try {
    const { directoryOffset, directorySize } = await readEnd(source);
    return await source.read(directoryOffset, Math.min(directorySize, LONGEST_DIRECTORY));
  } catch (error) {
    // Reading it as a zip reports this.
    if (isInvalid(error)) return Buffer.alloc(0);
    throw error;
  }
}

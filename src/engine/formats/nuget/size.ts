import { invalid } from '../../../lib/errors.ts';

/** NuGet refuses packages that need the zip64 format: sizes and offsets have 32 bits. In bytes. */
export const MAX_SIZE = 0xffffffff;
/** Room for any signature, in bytes: those with two chains and a timestamp take 20 KiB. */
const ROOM = 64 * 1024;

/** Throws `nuget-too-large` if a package of this size leaves no room for a signature. */
export function requireRoom(size: number, name: string): void {
  if (size + ROOM > MAX_SIZE)
    throw invalid('nuget-too-large', `${name}: signed, it would be larger than 4 GiB`, {
      hint: 'NuGet does not verify packages in the zip64 format: make it smaller, or exclude it',
    });
}

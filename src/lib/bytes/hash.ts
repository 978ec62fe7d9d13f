import { createHash } from 'node:crypto';
import { hashRanges } from './hash-and-compare.ts';
import { whole } from './concatenated-source.ts';
import { withFile, type ByteSource } from './byte-source.ts';

/** SHA-256 of bytes in memory, in lower-case hex. */
export const sha256Hex = (content: Buffer | string): string =>
  createHash('sha256').update(content).digest('hex');

/** SHA-256 of a stream of chunks, in lower-case hex. */
export async function sha256OfStream(content: AsyncIterable<Buffer>): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of content) hash.update(chunk);
  return hash.digest('hex');
}

/** SHA-256 of a whole source, in lower-case hex. */
export const sha256OfSource = async (source: ByteSource): Promise<string> =>
  (await hashRanges([whole(source)], { algorithm: 'sha256' })).digest.toString('hex');

/** SHA-256 of a file, in lower-case hex. */
export const sha256OfFile = (path: string): Promise<string> => withFile(path, sha256OfSource);

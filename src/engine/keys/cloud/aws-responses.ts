import { Transform, type Readable } from 'node:stream';
import type { KMSClient } from '@aws-sdk/client-kms';

/** In bytes. A public key or a signature has less than two kilobytes. */
const MAX_RESPONSE = 64 * 1024;

/** The name of the error for a longer one. */
export const TOO_LONG = 'ResponseTooLong';

/** Passes a body on, and fails if it has more than `MAX_RESPONSE` bytes. */
function limited(body: Readable): Readable {
  let size = 0;
  const limit = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      size += chunk.length;
      if (size <= MAX_RESPONSE) done(null, chunk);
      else done(Object.assign(new Error(`more than ${MAX_RESPONSE} bytes`), { name: TOO_LONG }));
    },
  });
  body
    .on('error', (error) => limit.destroy(error))
    .on('aborted', () => limit.destroy(new Error('ECONNRESET')));
  limit.on('error', () => body.destroy());
  return body.pipe(limit);
}

const bodyOf = (response: unknown): { body?: unknown } | undefined =>
  typeof response === 'object' && response !== null ? response : undefined;

/** The SDK reads answers of any length into memory; this bounds them. */
export function limitAwsResponses(client: KMSClient): void {
  client.middlewareStack.add(
    (next) => async (args) => {
      const result = await next(args);
      const response = bodyOf(result.response);
      if (response && isReadable(response.body)) response.body = limited(response.body);
      return result;
    },
    { step: 'deserialize', priority: 'low', name: 'limitResponses' },
  );
}

const isReadable = (body: unknown): body is Readable =>
  typeof body === 'object' && body !== null && 'pipe' in body && typeof body.pipe === 'function';

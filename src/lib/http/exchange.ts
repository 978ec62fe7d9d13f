import type { ClientRequest, IncomingMessage } from 'node:http';

/** For a connection that ends before an answer; with the code of Node's own error for that. */
const hangUp = (): Error =>
  Object.assign(new Error('the connection ended without an answer'), { code: 'ECONNRESET' });

/** Sends a request with `body`, and resolves to the response when its headers are there. */
export function sendRequest(request: ClientRequest, body: Buffer | undefined): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    // An error after the response began appears to the reader of its body.
    request.once('response', resolve).on('error', reject);
    // If the server switches to another protocol, `close` is the only event.
    request.once('close', () => reject(hangUp()));
    request.end(body);
  });
}

/** Reads the whole body; null if it has more than `limit` bytes: the connection is then closed. */
export async function readBody(response: IncomingMessage, limit: number): Promise<Buffer | null> {
  const chunks: Buffer[] = [];
  let size = 0;
  // Leaving this loop early closes the connection.
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > limit) return null;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** Reads a Retry-After, which is in seconds or a date (RFC 9110, 10.2.3); returns milliseconds from now. */
export function readRetryAfter(value: string | undefined, now: number): number | undefined {
  if (value === undefined) return undefined;
  const text = value.trim();
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1000;
  const date = /^[A-Z][a-z]{2}, /.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}

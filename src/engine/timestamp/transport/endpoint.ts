import { parseEndpoint, postTimestampQuery } from './http.ts';
import type { Pace } from '../pace.ts';
import { proxyFor } from './proxy.ts';
import { sendDirectly, type SendPost } from './send-post.ts';

/** An authority, and the way to it. */
export interface TimestampEndpoint {
  /** Without user and password; messages and receipts name it. */
  readonly url: string;
  /** How long one answer may take, in ms, if the way is slower than a connection; else the client's `timeoutMs`. */
  readonly timeoutMs?: number | undefined;
  /** Keeps its requests apart, whichever client sends them. */
  readonly pace?: Pace | undefined;
  /** How many requests it takes at once, if that is more than the client's limit: it sends them together. */
  readonly concurrency?: number | undefined;
  /**
   * Sends a TimeStampReq and returns the bytes of the answer, unchecked. Throws SignpipeErrors, and the reason of
   * `abort`.
   */
  post(query: Buffer, timeoutMs: number, abort?: AbortSignal): Promise<Buffer>;
}

/** An authority that is asked by HTTP, over the way that `sendPost` takes. Throws `timestamp-url` (usage). */
export function httpEndpoint(text: string, sendPost: SendPost): TimestampEndpoint {
  const endpoint = parseEndpoint(text);
  return {
    url: endpoint.url,
    post: (query, timeoutMs, abort) => postTimestampQuery(endpoint, query, timeoutMs, abort, sendPost),
  };
}

/**
 * An authority that this machine asks itself, through a proxy if the environment names one; `sendPost` may refuse
 * where a redirect leads. Throws `timestamp-url` and `timestamp-proxy` (usage).
 */
export function directEndpoint(text: string, sendPost: SendPost = sendDirectly): TimestampEndpoint {
  const endpoint = httpEndpoint(text, sendPost);
  proxyFor(endpoint.url);
  return endpoint;
}

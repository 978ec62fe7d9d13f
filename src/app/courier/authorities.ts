import { directEndpoint, type TimestampEndpoint } from '../../engine/timestamp/transport/endpoint.ts';
import { sendDirectly, type SendPost } from '../../engine/timestamp/transport/send-post.ts';
import { HttpStatusError } from '../../engine/timestamp/transport/http.ts';
import { mapConcurrently } from '../../lib/concurrency/map-concurrently.ts';
import { messageOf, notAllowed, SignpipeError, unavailable } from '../../lib/errors.ts';
import { printable } from '../../lib/printable.ts';
import {
  BATCH_FILE,
  type CourierAnswer,
  type CourierFailure,
  type CourierQuery,
} from '../../protocol/courier/batch-content.ts';

/** What the answers of one batch may have in all, in bytes: less than the file's limit, since base64 takes a third more. */
const TOTAL_LIMIT = Math.floor(BATCH_FILE.answers.limit * 0.7);

function failureOf(error: unknown): CourierFailure {
  const { code, message } =
    error instanceof SignpipeError ? error : new SignpipeError('local', 'courier-failed', messageOf(error));
  const shown = { code, message: printable(message, 900) };
  if (!(error instanceof HttpStatusError)) return shown;
  const { status, retryAfterMs } = error;
  return {
    ...shown,
    status,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs: Math.round(retryAfterMs) }),
  };
}

/** Sends only to hosts and ports of `urls`: over plain http, anyone on the network can redirect elsewhere. */
function sendToListed(urls: readonly string[]): SendPost {
  const origins = new Set(urls.filter((url) => URL.canParse(url)).map((url) => new URL(url).origin));
  return async (url, request) => {
    if (origins.has(url.origin)) return sendDirectly(url, request);
    throw unavailable('timestamp-redirect', `an authority redirects to ${url.origin}`, {
      hint: "it is not among the courier's authorities: add its address, if it is right",
    });
  };
}

/** The authorities that a courier may ask: those in its own configuration, whatever a query names. */
export class Authorities {
  private readonly endpoints: ReadonlyMap<string, TimestampEndpoint>;

  /** Throws `timestamp-url` and `timestamp-proxy` (usage). */
  constructor(
    urls: readonly string[],
    private readonly timeoutMs: number,
  ) {
    const sendPost = sendToListed(urls);
    const endpoints = urls.map((url) => directEndpoint(url, sendPost));
    this.endpoints = new Map(endpoints.map((endpoint) => [endpoint.url, endpoint]));
  }

  /** Asks for every query, up to `inFlight` at once. Never rejects: what failed is among the answers. */
  async ask(queries: readonly CourierQuery[], inFlight: number): Promise<CourierAnswer[]> {
    let total = 0;
    return mapConcurrently(queries, inFlight, async (query): Promise<CourierAnswer> => {
      const answer = await this.askOne(query);
      if ('response' in answer) total += answer.response.length;
      if (total <= TOTAL_LIMIT) return answer;
      return { failure: { code: 'timestamp-too-large', message: 'the answers of this batch are too large' } };
    });
  }

  private async askOne({ url, query }: CourierQuery): Promise<CourierAnswer> {
    try {
      const endpoint = this.endpoints.get(url);
      if (!endpoint) throw notAllowed('courier-authority', "not among the courier's authorities");
      return { response: await endpoint.post(query, this.timeoutMs) };
    } catch (error) {
      return { failure: failureOf(error) };
    }
  }
}

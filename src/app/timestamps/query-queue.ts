import { setTimeout as sleep } from 'node:timers/promises';
import { HttpStatusError } from '../../engine/timestamp/transport/http.ts';
import { isAlarm, messageOf, unavailable, type SignpipeError } from '../../lib/errors.ts';
import type { GitIdentity } from '../../lib/git/objects.ts';
import { printable } from '../../lib/printable.ts';
import type { SshSigner } from '../../lib/sshsig/ssh-signer.ts';
import {
  BATCH_SIZE,
  parseAnswers,
  serializeQueries,
  type CourierAnswer,
  type CourierFailure,
} from '../../protocol/courier/batch-content.ts';
import { batchId, batchPath, type BatchName } from '../../protocol/courier/batch-name.ts';
import { signerName } from '../../protocol/control/signer-name.ts';
import type { ListedBatch, Listing, Mailbox } from '../../protocol/courier/mailbox.ts';
import { PendingQuery } from './pending-query.ts';

/** Queries are collected until none has come for a while, a batch is full, or the first has waited; in ms. */
const COLLECT_MS = { quiet: 150, longest: 1500 };
/** The pause between two looks for answers, in ms, grows with the wait, by this part of it. */
const POLL_MS = { shortest: 50, part: 1 / 5, longest: 5000 };
/** A query that an earlier run left is removed this long after it expired, in ms: clocks differ. */
const LEFT_OVER_MS = 600_000;
/** The same for a query of another signer, such as one whose key was replaced. */
const LEFT_OVER_OF_OTHERS_MS = 86_400_000;
/** How many such batches are removed at a time, and how often, in ms: a restarted signer finds some that still wait. */
const CLEAN_UP = { most: 200, everyMs: 600_000 };

/** Queries that were pushed together. */
interface Batch {
  readonly name: BatchName;
  readonly queries: readonly PendingQuery[];
}

interface QueryQueueOptions {
  readonly mailbox: Mailbox;
  /** The receipt key, which signs queries. */
  readonly signer: SshSigner;
  readonly identity: GitIdentity;
}

/** The error for an answer that cannot be used; another try may succeed. */
const courierError = (url: string, why: string, cause?: unknown): SignpipeError =>
  unavailable('timestamp-courier', `${url}: ${why}`, {
    cause,
    hint: 'see the log of `signpipe courier`, and that it runs and may push',
  });

/** The error that the courier reports, in the form that the client knows. */
function failureOf(url: string, { code, message, status, retryAfterMs }: CourierFailure): SignpipeError {
  if (status !== undefined) return new HttpStatusError(status, retryAfterMs, url);
  return courierError(url, `the courier reports ${code}: ${printable(message, 300)}`);
}

/**
 * Sends timestamp queries to a courier through Git, many in one push, and waits for the answers. Answers are untrusted:
 * the client checks them as those of a connection.
 */
export class QueryQueue {
  private readonly waiting: PendingQuery[] = [];
  /** Those that are being pushed. */
  private pushing: readonly PendingQuery[] = [];
  private readonly batches = new Map<string, Batch>();
  private sending: Promise<void> | null = null;
  private collecting: Promise<void> | null = null;
  private nextCleanUp = 0;
  private readonly closed = new AbortController();

  constructor(private readonly options: QueryQueueOptions) {}

  /** Resolves to the bytes of the authority's answer. Throws `timestamp-courier`, `timestamp-timeout`, `timestamp-http`. */
  post(url: string, query: Buffer, timeoutMs: number, abort?: AbortSignal): Promise<Buffer> {
    const pending = new PendingQuery({ url, query }, timeoutMs, abort);
    if (this.closed.signal.aborted) pending.fail(courierError(url, 'the queue was closed'));
    else this.waiting.push(pending);
    this.startSending();
    return pending.answer;
  }

  /** Ends all waiting, and removes what is on the host. */
  async close(): Promise<void> {
    this.closed.abort();
    const open = [...this.waiting.splice(0), ...this.pushing, ...this.pushed];
    for (const query of open) query.fail(courierError(query.url, 'the queue was closed'));
    await Promise.allSettled([this.sending, this.collecting]);
    await this.remove([...this.batches.values()], null);
    this.options.mailbox.close();
  }

  private get pushed(): PendingQuery[] {
    return [...this.batches.values()].flatMap(({ queries }) => queries);
  }

  private startSending(): void {
    if (this.waiting.length === 0) return;
    this.sending ??= this.send().finally(() => {
      this.sending = null;
      if (this.waiting.length > 0 && !this.closed.signal.aborted) this.startSending();
    });
  }

  private startCollecting(): void {
    this.collecting ??= this.collect().finally(() => {
      this.collecting = null;
      if (this.batches.size > 0 && !this.closed.signal.aborted) this.startCollecting();
    });
  }

  /** Pushes batches until no query waits to be sent. */
  private async send(): Promise<void> {
    await this.collectQueries();
    if (this.collecting === null) await this.options.mailbox.renew().catch(() => {});
    while (this.waiting.length > 0 && !this.closed.signal.aborted) {
      const queries = this.waiting.splice(0, BATCH_SIZE).filter(({ isOpen }) => isOpen);
      if (queries.length > 0) await this.push(queries);
      if (this.waiting.length > 0) await this.collectQueries();
    }
  }

  private async collectQueries(): Promise<void> {
    const latest = performance.now() + COLLECT_MS.longest;
    for (let seen = 0; this.waiting.length > seen && this.waiting.length < BATCH_SIZE;) {
      seen = this.waiting.length;
      await this.pause(Math.min(COLLECT_MS.quiet, latest - performance.now()));
      if (performance.now() >= latest) return;
    }
  }

  private async push(queries: readonly PendingQuery[]): Promise<void> {
    const { mailbox, signer, identity } = this.options;
    const expires = Math.ceil(Math.max(...queries.map(({ deadline }) => deadline)) / 1000);
    const content = serializeQueries(queries, expires);
    const name = {
      signer: signerName(signer.fingerprint),
      expires,
      id: batchId(content),
    };
    this.pushing = queries;
    try {
      await mailbox.publish({ kind: 'queries', name, content, identity, at: new Date(), signer });
    } catch (error) {
      this.failAll(queries, error, 'the query cannot be pushed');
      return;
    } finally {
      this.pushing = [];
    }
    this.batches.set(batchPath(name), { name, queries });
    this.startCollecting();
  }

  /** An alarm, such as a changed host key, is passed on as it is. */
  private failAll(queries: readonly PendingQuery[], error: unknown, what: string): void {
    for (const query of queries)
      query.fail(isAlarm(error) ? error : courierError(query.url, `${what}: ${messageOf(error)}`, error));
  }

  /** Looks for answers until no batch is waited for. */
  private async collect(): Promise<void> {
    let since = performance.now();
    while (this.batches.size > 0 && !this.closed.signal.aborted) {
      await this.pause(
        Math.min(POLL_MS.longest, POLL_MS.shortest + (performance.now() - since) * POLL_MS.part),
      );
      try {
        if (await this.collectOnce()) since = performance.now();
      } catch (error) {
        // An outage of the Git host: each query waits until its own time is over.
        for (const query of this.pushed)
          if (isAlarm(error)) query.fail(error);
          else query.note(messageOf(error));
      }
    }
  }

  /** Looks for answers once; whether there were any. */
  private async collectOnce(): Promise<boolean> {
    const { mailbox } = this.options;
    const listing = await mailbox.list(signerName(this.options.signer.fingerprint));
    const answered = [...this.batches].flatMap(([path, batch]) => {
      const listed = listing.answers.get(path);
      return listed ? [{ batch, listed }] : [];
    });
    const { failures } = await mailbox.fetch(
      'answers',
      answered.map(({ listed }) => listed),
    );
    for (const { batch, listed } of answered) await this.settle(batch, listed, failures.get(listed));
    const over = [...this.batches.values()].filter(({ queries }) => queries.every(({ isOpen }) => !isOpen));
    await this.remove(over, listing);
    await this.cleanUp();
    return answered.length > failures.size;
  }

  /** `failure`: why the answers could not be fetched. They are looked for again. */
  private async settle({ queries }: Batch, listed: ListedBatch, failure: unknown): Promise<void> {
    if (failure !== undefined) {
      for (const query of queries) query.note(messageOf(failure));
      return;
    }
    let answers: readonly CourierAnswer[];
    try {
      const { content } = await this.options.mailbox.read('answers', listed);
      answers = parseAnswers(content, queries.length);
    } catch (error) {
      this.failAll(queries, error, "the courier's answer cannot be read");
      return;
    }
    for (const [at, query] of queries.entries()) {
      const answer = answers[at];
      if (answer && 'response' in answer) query.succeed(answer.response);
      else if (answer) query.fail(failureOf(query.url, answer.failure));
    }
  }

  /** Forgets batches, and removes them and their answers from the host. A failure is left to a later run. */
  private async remove(batches: readonly Batch[], listing: Listing | null): Promise<void> {
    for (const { name } of batches) this.batches.delete(batchPath(name));
    await this.removeListed(
      batches.map(({ name }) => name),
      listing,
    );
  }

  private async removeListed(names: readonly BatchName[], listing: Listing | null): Promise<void> {
    const kinds = ['queries', 'answers'] as const;
    const present = (kind: (typeof kinds)[number], name: BatchName): boolean =>
      listing ? listing[kind].has(batchPath(name)) : kind === 'queries';
    const refs = names.flatMap((name) =>
      kinds.filter((kind) => present(kind, name)).map((kind) => ({ kind, name })),
    );
    await this.options.mailbox.remove(refs).catch(() => {});
  }

  /** Removes what earlier runs of this signer, or signers that are gone, left behind. */
  private async cleanUp(): Promise<void> {
    if (performance.now() < this.nextCleanUp) return;
    this.nextCleanUp = performance.now() + CLEAN_UP.everyMs;
    const { queries, answers } = await this.options.mailbox.list();
    const own = signerName(this.options.signer.fingerprint);
    const isOver = ({ name: { signer, expires } }: ListedBatch): boolean =>
      expires * 1000 < Date.now() - (signer === own ? LEFT_OVER_MS : LEFT_OVER_OF_OTHERS_MS);
    const names = new Map(
      [...queries, ...answers].filter(([, batch]) => isOver(batch)).slice(0, CLEAN_UP.most),
    );
    await this.removeListed(
      [...names.values()].map(({ name }) => name),
      { queries, answers },
    );
  }

  private pause(ms: number): Promise<void> {
    return sleep(ms, undefined, { signal: this.closed.signal }).catch(() => {});
  }
}

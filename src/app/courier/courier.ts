import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { Backoff } from '../../lib/concurrency/backoff.ts';
import { invalid, isRefused, messageOf, SignpipeError } from '../../lib/errors.ts';
import { mapConcurrently } from '../../lib/concurrency/map-concurrently.ts';
import { verifyCommitSignature } from '../../lib/git/commit-signature.ts';
import { plural } from '../../lib/plural.ts';
import { AllowedSigners } from '../../lib/sshsig/allowed-signers.ts';
import { parseQueries, serializeAnswers, type CourierQuery } from '../../protocol/courier/batch-content.ts';
import { batchId, batchPath } from '../../protocol/courier/batch-name.ts';
import { signerName } from '../../protocol/control/signer-name.ts';
import type { ListedBatch, Listing, Mailbox } from '../../protocol/courier/mailbox.ts';
import type { Authorities } from './authorities.ts';

/** Batches that one round carries at most, and how many of them at once. */
const BATCHES = { perRound: 64, atOnce: 4 };
/** Answers that one round removes at most. */
const REMOVALS = 200;
/** Queries of one batch that are in flight. */
const IN_FLIGHT = 16;
/** Expired batches are left alone after this, in ms: clocks differ. */
const CLOCK_TOLERANCE_MS = 300_000;
/** Answers that could not be pushed are kept while they are no larger than this together, in bytes. */
const KEPT_LIMIT = 64 * 1024 * 1024;
/** The pause before a batch is tried again, in ms; it doubles every time. */
const TRY_AGAIN_MS = 2000;
/** The longest pause after rounds that failed, and of one batch, in ms. */
const LONGEST_PAUSE_MS = 60_000;

interface CourierOptions {
  readonly mailbox: Mailbox;
  readonly authorities: Authorities;
  /** Whose queries are carried. */
  readonly allowedSigners: string;
  /** The author of answers. */
  readonly name: string;
  /** The pause between two rounds, in ms. */
  readonly pollMs: number;
  readonly log: Pick<Logger, 'info' | 'warn' | 'error'>;
}

/** What one round did, in batches. */
interface Round {
  readonly answered: number;
  readonly failed: number;
}

/** What is remembered of a batch while the host lists it: `until` (monotonic, in ms) it is left alone. */
interface Handled {
  readonly until: number;
  readonly tries: number;
  /** Answers that could not be pushed: the authority is not asked again for them. */
  readonly answers?: Buffer;
}

/**
 * Carries timestamp queries from Git to the authorities, and their answers back. It is trusted with nothing: the signer
 * checks every answer. No query or batch, however broken, keeps it from carrying the others.
 */
export class Courier {
  /** By `batchPath`. */
  private readonly handled = new Map<string, Handled>();

  constructor(private readonly options: CourierOptions) {}

  /**
   * Carries until `stop` is aborted. After a failure to reach the host, pauses grow. Calls `onRound` after each round and
   * each pause.
   */
  async watch(stop: AbortSignal, onRound: () => void = () => {}): Promise<void> {
    const { log, pollMs } = this.options;
    const backoff = new Backoff({ first: 2 * pollMs, longest: LONGEST_PAUSE_MS });
    while (!stop.aborted) {
      let pause = pollMs;
      try {
        await this.round();
        backoff.reset();
      } catch (error) {
        if (error instanceof SignpipeError && (error.kind === 'alarm' || error.kind === 'usage')) throw error;
        pause = backoff.next();
        log.error(detailsOf(error), messageOf(error));
      }
      onRound();
      await sleep(pause, undefined, { signal: stop }).catch(() => {});
      onRound();
    }
  }

  /** Carries every batch that waits now. Throws if the host cannot be reached. */
  async round(): Promise<Round> {
    const { mailbox } = this.options;
    await mailbox.renew();
    const listing = await mailbox.list();
    for (const path of this.handled.keys()) if (!listing.queries.has(path)) this.handled.delete(path);
    await this.removeOrphans(listing);
    const due = [...listing.queries].filter(([path, batch]) => this.isDue(path, batch, listing));
    const batches = await this.choose(due.map(([, batch]) => batch));
    const { failures } = await mailbox.fetch(
      'queries',
      batches.filter(({ name }) => this.handled.get(batchPath(name))?.answers === undefined),
    );
    for (const [batch, error] of failures) this.tryAgain(batch, error);
    const ready = batches.filter((batch) => !failures.has(batch));
    const outcomes = await mapConcurrently(ready, BATCHES.atOnce, (batch) => this.carry(batch));
    const answered = outcomes.filter(Boolean).length;
    return { answered, failed: batches.length - answered };
  }

  /**
   * The batches of this round. If anyone may push, a stranger can make thousands: those under the name of an allowed
   * signer come first, and among them chance decides, so that none waits for all others.
   */
  private async choose(due: readonly ListedBatch[]): Promise<readonly ListedBatch[]> {
    if (due.length <= BATCHES.perRound) return due;
    // An unreadable list is reported with each batch.
    const allowed = await AllowedSigners.load(this.options.allowedSigners).catch(() => null);
    const known = new Set(allowed?.signers.map(({ key }) => signerName(key.fingerprint)));
    const ranked = due.map((batch) => ({
      batch,
      rank: Math.random() - (known.has(batch.name.signer) ? 1 : 0),
    }));
    const first = ranked.toSorted((a, b) => a.rank - b.rank).slice(0, BATCHES.perRound);
    return first.map(({ batch }) => batch);
  }

  private isDue(path: string, { name }: ListedBatch, { answers }: Listing): boolean {
    const isExpired = name.expires * 1000 < Date.now() - CLOCK_TOLERANCE_MS;
    const isLeftAlone = (this.handled.get(path)?.until ?? 0) > performance.now();
    return !answers.has(path) && !isLeftAlone && !isExpired;
  }

  /** Removes answers to queries that are gone: the signer does not wait for them any more. */
  private async removeOrphans({ queries, answers }: Listing): Promise<void> {
    const orphans = [...answers].filter(([path]) => !queries.has(path)).slice(0, REMOVALS);
    const { mailbox, log } = this.options;
    await mailbox
      .remove(orphans.map(([, { name }]) => ({ kind: 'answers' as const, name })))
      .catch((error: unknown) => log.warn(detailsOf(error), messageOf(error)));
  }

  /** Carries one batch; false if it has to be tried again. A batch that is refused is never tried again. */
  private async carry(batch: ListedBatch): Promise<boolean> {
    const path = batchPath(batch.name);
    let answers: Buffer | undefined = this.handled.get(path)?.answers;
    try {
      answers ??= await this.answer(batch);
      if (answers) await this.publish(batch, answers);
    } catch (error) {
      this.tryAgain(batch, error, answers);
      return false;
    }
    this.handled.set(path, { until: Infinity, tries: 0 });
    return true;
  }

  /** Asks the authorities for the tokens of a batch; nothing if the batch is refused. */
  private async answer(batch: ListedBatch): Promise<Buffer | undefined> {
    const { log, authorities } = this.options;
    const path = batchPath(batch.name);
    try {
      const queries = await this.read(batch);
      const answers = await authorities.ask(queries, IN_FLIGHT);
      const failed = answers.filter((answer) => 'failure' in answer).length;
      log.info(
        { batch: path, queries: queries.length, failed },
        `answered ${plural(queries.length, 'query', 'queries')}${failed > 0 ? `, ${failed} of them with an error` : ''}`,
      );
      return serializeAnswers(answers);
    } catch (error) {
      if (!isRefused(error)) throw error;
      log.warn({ batch: path, ...detailsOf(error) }, messageOf(error));
      return undefined;
    }
  }

  /** Leaves a batch alone for a while, longer each time. */
  private tryAgain({ name }: ListedBatch, error: unknown, answers?: Buffer): void {
    const path = batchPath(name);
    const tries = (this.handled.get(path)?.tries ?? 0) + 1;
    const pause = Math.min(TRY_AGAIN_MS * 2 ** (tries - 1), LONGEST_PAUSE_MS);
    this.options.log.error({ batch: path, ...detailsOf(error) }, messageOf(error));
    this.handled.delete(path);
    const kept = [...this.handled.values()].reduce((sum, each) => sum + (each.answers?.length ?? 0), 0);
    this.handled.set(path, {
      until: performance.now() + pause,
      tries,
      ...(answers && kept + answers.length <= KEPT_LIMIT && { answers }),
    });
  }

  /** Reads a batch that one of the allowed signers has signed, under the name that it has there. */
  private async read(batch: ListedBatch): Promise<readonly CourierQuery[]> {
    const { mailbox, allowedSigners } = this.options;
    const { commit, content } = await mailbox.read('queries', batch);
    const allowed = await AllowedSigners.load(allowedSigners);
    const { fingerprint } = verifyCommitSignature(commit.raw, allowed, { now: new Date() });
    const { signer, id, expires: until } = batch.name;
    if (signer !== signerName(fingerprint)) throw misnamed('another signer than its signature');
    if (batchId(content) !== id) throw misnamed('another SHA-256 than its queries');
    const { queries, expires } = parseQueries(content);
    if (expires !== until) throw misnamed('another time than its queries');
    return queries;
  }

  private publish({ name }: ListedBatch, content: Buffer): Promise<void> {
    const identity = { name: this.options.name, email: '' };
    return this.options.mailbox.publish({
      kind: 'answers',
      name,
      content,
      identity,
      at: new Date(),
      signer: null,
    });
  }
}

/** The host offers a batch under a name that its signer did not give it, such as an old one as new. */
const misnamed = (what: string): SignpipeError =>
  invalid('courier-batch-malformed', `the name of the batch has ${what}`);

/** What the log says about an error beside its message. */
const detailsOf = (error: unknown): object =>
  error instanceof SignpipeError ? { code: error.code, hint: error.hint } : {};

import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { messageOf, SignpipeError, invalid } from '../../lib/errors.ts';
import { mapConcurrently } from '../../lib/concurrency/map-concurrently.ts';
import { verifyCommitSignature } from '../../lib/git/commit-signature.ts';
import { plural } from '../../lib/plural.ts';
import { AllowedSigners } from '../../lib/sshsig/allowed-signers.ts';
import { parseQueries, serializeAnswers, type CourierQuery } from '../../protocol/courier/batch-content.ts';
import { batchPath } from '../../protocol/courier/batch-name.ts';
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
/** How many batches are remembered as done, beside those that are listed. */
const REMEMBERED = 10_000;
/** The longest pause after rounds that failed, in ms. */
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

/**
 * Carries timestamp queries from Git to the authorities, and their answers back. It is trusted with nothing: the signer
 * checks every answer. No query or batch, however broken, keeps it from carrying the others.
 */
export class Courier {
  /** Batches that were answered or refused: never carried again. */
  private readonly done = new Set<string>();

  constructor(private readonly options: CourierOptions) {}

  /** Carries until `stop` is aborted. After a failure, pauses grow. */
  async watch(stop: AbortSignal): Promise<void> {
    const { log, pollMs } = this.options;
    let pause = pollMs;
    while (!stop.aborted) {
      try {
        const { failed } = await this.round();
        pause = failed === 0 ? pollMs : Math.min(pause * 2, LONGEST_PAUSE_MS);
      } catch (error) {
        if (error instanceof SignpipeError && (error.kind === 'alarm' || error.kind === 'usage')) throw error;
        pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
        log.error(detailsOf(error), messageOf(error));
      }
      await sleep(pause, undefined, { signal: stop }).catch(() => {});
    }
  }

  /** Carries every batch that waits now. Throws if the host cannot be reached. */
  async round(): Promise<Round> {
    const { mailbox } = this.options;
    await mailbox.renew();
    const listing = await mailbox.list();
    await this.removeOrphans(listing);
    const due = [...listing.queries].filter(([path, batch]) => this.isDue(path, batch, listing));
    const batches = due.slice(0, BATCHES.perRound).map(([, batch]) => batch);
    await mailbox.fetch('queries', batches);
    const outcomes = await mapConcurrently(batches, BATCHES.atOnce, (batch) => this.carry(batch));
    const answered = outcomes.filter(Boolean).length;
    return { answered, failed: outcomes.length - answered };
  }

  private isDue(path: string, { name }: ListedBatch, { answers }: Listing): boolean {
    const isExpired = name.expires * 1000 < Date.now() - CLOCK_TOLERANCE_MS;
    return !answers.has(path) && !this.done.has(path) && !isExpired;
  }

  /** Removes answers to queries that are gone: the signer does not wait for them any more. */
  private async removeOrphans({ queries, answers }: Listing): Promise<void> {
    const orphans = [...answers].filter(([path]) => !queries.has(path)).slice(0, REMOVALS);
    const { mailbox, log } = this.options;
    await mailbox
      .remove(orphans.map(([, { name }]) => ({ kind: 'answers' as const, name })))
      .catch((error: unknown) => log.warn(detailsOf(error), messageOf(error)));
  }

  /** Carries one batch; false if it has to be tried again. A batch that is refused counts as done. */
  private async carry(batch: ListedBatch): Promise<boolean> {
    const { log } = this.options;
    const path = batchPath(batch.name);
    try {
      const queries = await this.read(batch);
      const answers = await this.options.authorities.ask(queries, IN_FLIGHT);
      await this.publish(batch, serializeAnswers(answers));
      const failed = answers.filter((answer) => 'failure' in answer).length;
      log.info(
        { batch: path, queries: queries.length, failed },
        `answered ${plural(queries.length, 'query', 'queries')}${failed > 0 ? `, ${failed} of them with an error` : ''}`,
      );
    } catch (error) {
      const { kind } = error instanceof SignpipeError ? error : { kind: 'local' };
      const isRefused = kind === 'invalid' || kind === 'not-allowed';
      log[isRefused ? 'warn' : 'error']({ batch: path, ...detailsOf(error) }, messageOf(error));
      if (!isRefused) return false;
    }
    this.remember(path);
    return true;
  }

  /** Reads a batch that one of the allowed signers has signed. */
  private async read(batch: ListedBatch): Promise<readonly CourierQuery[]> {
    const { mailbox, allowedSigners } = this.options;
    const { commit, content } = await mailbox.read('queries', batch);
    const allowed = await AllowedSigners.load(allowedSigners);
    verifyCommitSignature(commit.raw, allowed, { now: new Date() });
    if (createHash('sha256').update(content).digest('hex') !== batch.name.id)
      throw invalid('courier-batch-malformed', 'the name of the batch is not the SHA-256 of its queries');
    return parseQueries(content);
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

  private remember(path: string): void {
    const [oldest] = this.done;
    if (this.done.size >= REMEMBERED && oldest !== undefined) this.done.delete(oldest);
    this.done.add(path);
  }
}

/** What the log says about an error beside its message. */
const detailsOf = (error: unknown): object =>
  error instanceof SignpipeError ? { code: error.code, hint: error.hint } : {};

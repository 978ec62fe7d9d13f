import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Audit } from '../../app/auditor/model.ts';
import { PageWriter, type PageWriterOptions, type Round } from '../../app/auditor/page-writer.ts';
import { plural } from '../../lib/plural.ts';
import { messageOf, SignpipeError } from '../../lib/errors.ts';

interface EveryOptions extends PageWriterOptions {
  /** The name of the page, for the log. */
  readonly name: string;
  readonly log: Logger;
}

const statusOf = ({ problems }: Audit): number => (problems.length > 0 ? 3 : 0);

/**
 * Keeps a page up to date until SIGTERM or SIGINT; a page that is being written is finished. The exit status is 3 if the last
 * audit found a problem. The first round has to succeed, so that a mistake on the command line ends the command.
 */
export async function keepPage(options: EveryOptions): Promise<number> {
  const stop = new AbortController();
  const onStop = (): void => stop.abort();
  process.on('SIGTERM', onStop).on('SIGINT', onStop);
  try {
    const writer = new PageWriter(options);
    let last = await writer.round(stop.signal);
    report(options, last, null);
    while (await pause(options.every, stop.signal)) {
      const round = await tryRound(writer, options, stop.signal);
      if (!round) continue;
      report(options, round, last);
      last = round;
    }
    return statusOf(last.audit);
  } finally {
    process.off('SIGTERM', onStop).off('SIGINT', onStop);
  }
}

/** Waits, by the monotonic clock; false if the command was stopped. */
async function pause(milliseconds: number, signal: AbortSignal): Promise<boolean> {
  await sleep(milliseconds, null, { signal }).catch(() => {});
  return !signal.aborted;
}

/** One round; null if the page could not be written, for example to a full disk, which the next round tries again. */
async function tryRound(
  writer: PageWriter,
  { log }: EveryOptions,
  signal: AbortSignal,
): Promise<Round | null> {
  try {
    return await writer.round(signal);
  } catch (error) {
    const fields = error instanceof SignpipeError ? { code: error.code, hint: error.hint } : { err: error };
    if (!signal.aborted) log.error(fields, messageOf(error));
    return null;
  }
}

/** Logs what changed since the round before. */
function report({ log, name }: EveryOptions, { written, audit, trouble }: Round, before: Round | null): void {
  if (trouble && before?.trouble?.since !== trouble.since)
    log.warn({ code: trouble.code }, `the page is not up to date: ${trouble.message}`);
  if (!trouble && before?.trouble) log.info('the page is up to date again');
  if (audit.problems.length > (before?.audit.problems.length ?? 0))
    log.error(`the history does not hold: ${plural(audit.problems.length, 'problem')}`);
  if (written) log.debug({ rows: audit.rows.length, problems: audit.problems.length }, `wrote ${name}`);
  if (!before) log.info({ rows: audit.rows.length }, `${name} is written and kept up to date`);
}

/** What needs attention now, worst first: alarms of signers, a HOLD, silence, certificates that end, a page that is old. */
import type { PageState } from '../app/auditor/model.ts';
import { data, type HoldNote } from './audit-data.ts';
import { ago, duration, second } from './format.ts';
import { certificateEnd, stateOf, type Signer } from './signer-state.ts';
import { DAY, MINUTE, timeOf } from './times.ts';

export interface Warning {
  readonly level: 'alarm' | 'warning';
  readonly title: string;
  readonly text: string;
  /** A stable code, if there is one. */
  readonly code?: string;
}

/** How late the next version of the page may be. */
const GRACE = 2 * MINUTE;
/** Days before the end of a certificate when it becomes a warning. */
const CERTIFICATE_DAYS = 30;

/** Everything that needs attention at a time. */
export function warningsAt(now: number): Warning[] {
  const { page, hold } = data;
  const all = [
    ...pageWarnings(page, now),
    ...healthWarnings(page.health),
    ...page.health.signers.flatMap((signer) => signerWarnings(signer, now)),
    ...(hold ? [holdWarning(hold)] : []),
  ];
  return [...all.filter(({ level }) => level === 'alarm'), ...all.filter(({ level }) => level === 'warning')];
}

function pageWarnings({ next, trouble }: PageState, now: number): Warning[] {
  const warnings: Warning[] = [];
  if (next !== null && now > timeOf(next) + GRACE)
    warnings.push({
      level: 'alarm',
      title: 'This page is old',
      text: `It was written ${ago(now - timeOf(data.auditedAt))}, and the next one is missing: the program that writes it may have stopped.`,
    });
  if (trouble)
    warnings.push({
      level: 'alarm',
      title: `Not up to date since ${second(trouble.since)}`,
      text: trouble.message,
      code: trouble.code,
    });
  return warnings;
}

const healthWarnings = ({ ignored, differing }: PageState['health']): Warning[] => [
  ...differing.map((name): Warning => ({
    level: 'alarm',
    title: `${name} has another history`,
    text: 'it accepted requests or receipts that are not in the history here: the Git host shows the two of you different histories, or this clone is old',
    code: 'history-differs',
  })),
  ...ignored.map(({ name, code, message }): Warning => ({
    level: 'warning',
    title: name === null ? 'The newest heartbeats are missing' : `The heartbeat ${name} was ignored`,
    text: message,
    code,
  })),
];

const lasts = (since: string): string => `since ${second(since)}`;

function signerWarnings(signer: Signer, now: number): Warning[] {
  const { name, alarm, problem, written } = signer;
  const state = stateOf(signer, now);
  const warnings: Warning[] = [];
  if (alarm)
    warnings.push({
      level: 'alarm',
      title: `${name} raised an alarm and signs nothing`,
      text: lasts(alarm.since),
      code: alarm.code,
    });
  if (state === 'silent')
    warnings.push({
      level: 'alarm',
      title: `${name} is silent`,
      text: `its last heartbeat was ${ago(now - timeOf(written))}, at ${second(written)}`,
    });
  if (state === 'ahead')
    warnings.push({
      level: 'warning',
      title: `The clock of ${name} is ahead`,
      text: `its heartbeat is dated ${second(written)}, which proves nothing`,
    });
  if (state === 'stopped')
    warnings.push({ level: 'warning', title: `${name} was stopped`, text: lasts(written) });
  if (problem)
    warnings.push({
      level: 'warning',
      title: `${name} could not finish its last poll`,
      text: lasts(problem.since),
      code: problem.code,
    });
  return [...warnings, ...signer.channels.flatMap((channel) => channelWarnings(signer, channel, now))];
}

function channelWarnings(
  { name, channels }: Signer,
  channel: Signer['channels'][number],
  now: number,
): Warning[] {
  const { problem, authorities, waiting } = channel;
  const where = channels.length > 1 ? `${name}, channel ${channel.name}` : name;
  const warnings: Warning[] = [];
  const end = certificateEnd(channel);
  if (end !== null && end - now < CERTIFICATE_DAYS * DAY)
    warnings.push({
      level: end < now ? 'alarm' : 'warning',
      title: `${where}: the certificate ${end < now ? 'has expired' : `ends in ${duration(end - now)}`}`,
      text: second(new Date(end).toISOString()),
    });
  if (problem)
    warnings.push({ level: 'alarm', title: `${where}: the key signs nothing`, text: '', code: problem.code });
  if (waiting)
    warnings.push({
      level: 'warning',
      title: `${where} waits for ${waiting.for}`,
      text: `since ${second(waiting.since)}`,
    });
  if (authorities.length > 0 && authorities.every(({ circuit }) => circuit === 'open'))
    warnings.push({ level: 'alarm', title: `${where}: no timestamp authority answers`, text: '' });
  return warnings;
}

const holdWarning = ({ by, since, reason }: HoldNote): Warning => ({
  level: 'warning',
  title: 'On hold',
  text: `${since ? `since ${second(since)}, ` : ''}by ${by ?? 'an unknown author'}${reason === '' ? '' : `: ${reason}`}`,
});

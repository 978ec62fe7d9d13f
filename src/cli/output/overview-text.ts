import type {
  Alarm,
  ChannelOverview,
  Overview,
  QueuedRequest,
  RecentOutcome,
} from '../../app/overview/model.ts';
import { shortId } from '../../lib/git/objects.ts';
import { isoDay } from '../../lib/iso-day.ts';
import { plural } from '../../lib/plural.ts';
import { printable } from '../../lib/printable.ts';
import type { painter, Style } from '../../lib/terminal-colors.ts';
import { ago, duration } from './ago.ts';
import { heartbeatText } from './status-text.ts';

interface TextOptions {
  readonly now: Date;
  readonly paint: ReturnType<typeof painter>;
  /** The most requests of the queue; all unless given. */
  readonly requests?: number;
}

const STYLES: Readonly<Record<RecentOutcome['outcome'], Style>> = {
  signed: 'good',
  rejected: 'warning',
  failed: 'bad',
};

/** The first file, and how many more there are. */
function filesText(files: readonly string[]): string {
  const [first, ...more] = files;
  if (first === undefined) return 'no readable zipname';
  return `${printable(first, 100)}${more.length > 0 ? ` and ${more.length} more` : ''}`;
}

function alarmLines(alarms: readonly Alarm[], { paint }: TextOptions): string[] {
  return alarms.map(({ level, code, text }) =>
    paint(
      `${level === 'alarm' ? 'ALARM  ' : 'warning'}  ${printable(text, 1000)} [${printable(code, 100)}]`,
      level === 'alarm' ? 'alarm' : 'warning',
    ),
  );
}

function channelLine({ name, policy, daysLeft }: ChannelOverview): string {
  const { certificate, successor, waiting, vouches, delay } = policy;
  const end = certificate?.notAfter;
  const left = daysLeft === null || daysLeft < 0 ? 'expired' : `${plural(daysLeft, 'day')} left`;
  const facts = [
    ...(end === undefined ? [] : [`certificate until ${isoDay(new Date(end))}, ${left}`]),
    ...(successor ? [`successor takes over at ${successor.from}`] : []),
    ...(vouches > 0 ? [`needs ${plural(vouches, 'vouch', 'vouches')}`] : []),
    ...(delay > 0 ? [`time lock ${duration(delay * 1000)}`] : []),
    ...(waiting ? [`waiting for ${printable(waiting.for, 50)} since ${waiting.since}`] : []),
  ];
  return `channel ${printable(name, 60)}${facts.length > 0 ? `: ${facts.join(', ')}` : ''}`;
}

function queueLines({ queue }: Overview, { now, paint, requests = Infinity }: TextOptions): string[] {
  if (queue.total === 0) return ['queue: empty'];
  const shown = queue.requests.slice(0, requests);
  const hidden = queue.total - shown.length;
  return [
    `queue: ${plural(queue.total, 'request')}`,
    ...shown.flatMap((request) => requestLines(request, now).map((line) => paint(line, 'waiting'))),
    ...(hidden > 0 ? [`  and ${hidden} more`] : []),
  ];
}

function requestLines(request: QueuedRequest, now: Date): string[] {
  const { files, channel, askedBy, author, askedAt, waitsFor, inHand } = request;
  const by = askedBy
    ? `by ${printable(askedBy.principal, 100)}`
    : `not proved; the commit names ${printable(author, 100)}`;
  const when = askedAt === null ? '' : `, ${ago(askedAt, now)}`;
  const on = channel === 'default' ? '' : ` on ${printable(channel, 64)}`;
  const why = inHand ? `in hand: ${printable(inHand.stage, 60)}` : printable(waitsFor.text, 500);
  const code = inHand ? '' : ` [${printable(waitsFor.code, 100)}]`;
  return [
    `  ${shortId(request.request)}  ${filesText(files)}${on}, ${by}${when}`,
    `                ${why}${why.endsWith(code) ? '' : code}`,
  ];
}

function outcomeLine(outcome: RecentOutcome, { now, paint }: TextOptions): string {
  const { proven, test, reason, files, askedAt, answeredAt } = outcome;
  const word = proven ? `${test ? 'TEST ' : ''}${outcome.outcome}` : 'unproven';
  const took = answeredAt >= askedAt ? `, after ${duration(answeredAt.getTime() - askedAt.getTime())}` : '';
  const why = reason ? `: ${printable(reason.message, 200)} [${printable(reason.code, 100)}]` : '';
  return `  ${shortId(outcome.request)}  ${paint(word.padEnd(11), proven ? STYLES[outcome.outcome] : 'bad')}  ${filesText(files)}, ${ago(answeredAt, now)}${took}${why}`;
}

/** What goes on in a control repository, for people. Signers are left out if `signers` is false. */
export function overviewText(
  overview: Overview,
  options: TextOptions & { readonly signers: boolean },
): string {
  const { signers, channels, recent, alarms } = overview;
  const heard = options.signers ? signers.map((signer) => heartbeatText(signer, options.now)) : [];
  // A heartbeat has more about channels than the published policy.
  const published = options.signers && signers.length === 0 ? channels.map(channelLine) : [];
  return [
    ...alarmLines(alarms, options),
    ...heard,
    ...published,
    ...queueLines(overview, options),
    ...(recent.length > 0
      ? ['newest outcomes', ...recent.map((outcome) => outcomeLine(outcome, options))]
      : []),
  ].join('\n');
}

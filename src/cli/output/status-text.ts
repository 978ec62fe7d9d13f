import { isRunning, isSilent, type SignerHealth } from '../../app/signer/state/health.ts';
import { shortId } from '../../lib/git/objects.ts';
import { isoDay } from '../../lib/iso-day.ts';
import { plural } from '../../lib/plural.ts';
import { printable } from '../../lib/printable.ts';
import { expiryOf } from '../../lib/x509/expiry.ts';

type ChannelHealth = SignerHealth['channels'][number];
type AuthorityText = ChannelHealth['authorities'][number];

const LACKS: ReadonlyMap<string, string> = new Map([
  ['timestamp', 'no timestamp authority has answered'],
  ['key', 'the signing key has been out of reach'],
]);

/** How long ago, in the largest unit that fits. */
function ago(then: string, now: Date): string {
  const seconds = Math.max(0, Math.round((now.getTime() - Date.parse(then)) / 1000));
  if (seconds < 120) return `${seconds} s ago`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min ago`;
  return seconds < 172_800
    ? `${Math.round(seconds / 3600)} h ago`
    : `${Math.round(seconds / 86_400)} days ago`;
}

function signerLine(health: SignerHealth, now: Date): string {
  const { pid, started, written } = health;
  if (!isRunning(health))
    return `not running; process ${pid}, begun ${started}, was last heard from ${ago(written, now)}`;
  const heard = `${isSilent(health, now) ? 'but silent: ' : ''}last heard from ${ago(written, now)}`;
  return `running since ${started} (process ${pid}), ${heard}`;
}

function certificateLine({ certificate: { subject, notAfter } }: ChannelHealth, now: Date): string {
  const name = `certificate  ${printable(subject, 200)}`;
  if (notAfter === undefined) return `${name}, replaced by its service every few days`;
  const { days } = expiryOf({ notAfter: new Date(notAfter) }, now);
  const left = days < 0 ? 'expired' : `${plural(days, 'day')} left`;
  return `${name}, until ${isoDay(new Date(notAfter))}, ${left}`;
}

function successorLine({ from, notAfter, open }: NonNullable<ChannelHealth['successor']>): string {
  const end = notAfter === undefined ? '' : `, until ${isoDay(new Date(notAfter))}`;
  return `successor    takes over at ${from}${open ? end : '; it is not open yet'}`;
}

function authorityLine(authority: AuthorityText, now: Date): string {
  const { url, circuit, succeeded, failed, lastSuccess, lastFailure, medianMs } = authority;
  const facts = [
    `circuit ${circuit}`,
    plural(succeeded, 'token'),
    ...(medianMs === null ? [] : [`usually in ${medianMs} ms`]),
    ...(lastSuccess === null ? [] : [`the last ${ago(lastSuccess, now)}`]),
    ...(failed === 0 ? [] : [plural(failed, 'failure')]),
    ...(lastFailure ? [`the last ${ago(lastFailure.at, now)} [${printable(lastFailure.code, 60)}]`] : []),
  ];
  return `authority    ${printable(url, 200)}: ${facts.join(', ')}`;
}

function channelLines(channel: ChannelHealth, now: Date): string[] {
  const { name, problem, successor, waiting, authorities } = channel;
  const lacks = waiting && (LACKS.get(waiting.for) ?? printable(waiting.for, 60));
  return [
    `channel ${printable(name, 60)}`,
    `  ${certificateLine(channel, now)}`,
    ...(successor ? [`  ${successorLine(successor)}`] : []),
    ...(problem
      ? [`  NOT SIGNING  [${printable(problem.code, 60)}]: requests wait; run signpipe doctor`]
      : []),
    ...(waiting ? [`  waiting      ${lacks} since ${waiting.since}`] : []),
    ...authorities.map((authority) => `  ${authorityLine(authority, now)}`),
  ];
}

/** What a signer reported last, for people. */
export const statusText = (health: SignerHealth, now: Date): string =>
  [
    `signer ${signerLine(health, now)}`,
    ...health.channels.flatMap((channel) => channelLines(channel, now)),
    ...health.requests.map(
      ({ id, channel, first }) =>
        `request ${shortId(id)} (${printable(channel, 60)}) has been waiting since ${first}, ${ago(first, now)}`,
    ),
  ].join('\n');

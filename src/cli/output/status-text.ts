import type { SignerOverview } from '../../app/overview/model.ts';
import { isRunning, isSilent, type SignerHealth } from '../../app/signer/state/health.ts';
import { shortId } from '../../lib/git/objects.ts';
import { isoDay } from '../../lib/iso-day.ts';
import { plural } from '../../lib/plural.ts';
import { printable } from '../../lib/printable.ts';
import { expiryOf } from '../../lib/x509/expiry.ts';
import { ago } from './ago.ts';

type ChannelHealth = SignerHealth['channels'][number];
type AuthorityText = ChannelHealth['authorities'][number];

const LACKS: ReadonlyMap<string, string> = new Map([
  ['timestamp', 'no timestamp authority has answered'],
  ['key', 'the signing key has been out of reach'],
]);

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
    ...(isRunning(health) ? inHandLine(health, now) : []),
    ...health.channels.flatMap((channel) => channelLines(channel, now)),
    ...health.requests.map(
      ({ id, channel, first }) =>
        `request ${shortId(id)} (${printable(channel, 60)}) has been waiting since ${first}, ${ago(first, now)}`,
    ),
  ].join('\n');

function heartbeatLine({ state, content }: SignerOverview, now: Date): string {
  const { name, started, written, signpipe } = content;
  const signer = `${printable(name, 60)} (signpipe ${printable(signpipe, 30)})`;
  const heard = `last heard from ${ago(written, now)}`;
  if (state === 'stopped') return `${signer} was stopped at ${written}, ${ago(written, now)}`;
  if (state === 'ahead') return `${signer} reports ${written}, ahead of this machine's clock`;
  return `${signer} running since ${started}, ${state === 'silent' ? 'but silent: ' : ''}${heard}`;
}

function inHandLine({ current }: Pick<SignerHealth, 'current'>, now: Date): string[] {
  if (!current) return [];
  const { request, stage, since, file, done, of } = current;
  const programs = done === undefined || of === undefined ? '' : `, ${done} of ${plural(of, 'program')}`;
  const what = file === undefined ? '' : ` of ${printable(file, 255)}`;
  const taken = ago(since, now).replace(/ ago$/, '');
  return [`  in hand      ${shortId(request)}: ${printable(stage, 60)}${programs}${what}, for ${taken}`];
}

/** What a signer said last in its heartbeat, for people. */
export const heartbeatText = (signer: SignerOverview, now: Date): string =>
  [
    `signer ${heartbeatLine(signer, now)}`,
    ...inHandLine(signer.content, now),
    ...signer.content.channels.flatMap((channel) => channelLines(channel, now)),
  ].join('\n');

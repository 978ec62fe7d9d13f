/** A card for each signer: what it does now, and the state of its certificates and timestamp authorities. */
import { data, items } from './audit-data.ts';
import { hash } from './components.ts';
import { byId, el, type Child } from './dom.ts';
import { ago, commonName, decimal, duration, plural } from './format.ts';
import { whatOf } from './row-text.ts';
import { certificateEnd, stateOf, type Signer, type SignerState } from './signer-state.ts';
import { timeOf } from './times.ts';

const WORDS: Readonly<Record<SignerState, string>> = {
  alarm: 'alarm',
  silent: 'silent',
  ahead: 'clock ahead',
  stopped: 'stopped',
  problem: 'has a problem',
  signing: 'signing',
  idle: 'idle',
};

/** Draws the cards as they are at a time. */
export function drawSigners(now: number): void {
  const { signers } = data.page.health;
  byId('signers').hidden = signers.length === 0;
  byId('signerCards').replaceChildren(...signers.map((signer) => card(signer, now)));
}

function card(signer: Signer, now: number): HTMLElement {
  const state = stateOf(signer, now);
  return el(
    'article',
    { class: 'card' },
    el('h3', {}, signer.name || signer.signer, ' ', el('span', { class: `state ${state}` }, WORDS[state])),
    el(
      'p',
      { class: 'aside' },
      `heartbeat ${ago(now - timeOf(signer.written))}, running for ${duration(timeOf(signer.written) - timeOf(signer.started))}, signpipe ${signer.signpipe}`,
    ),
    el(
      'dl',
      {},
      ...inHand(signer, now),
      ...pair('Unanswered', plural(signer.queue, 'request')),
      ...signer.channels.flatMap((each) => channelPairs(signer, each, now)),
    ),
  );
}

const pair = (name: string, ...content: Child[]): Child[] => [el('dt', {}, name), el('dd', {}, ...content)];

/** The request in hand: its name, stage, file and how many programs of it are done. */
function inHand({ current }: Signer, now: number): Child[] {
  if (!current) return [];
  const item = items.find(({ row }) => row.request === current.request);
  const { file, done, of } = current;
  const progress = done !== undefined && of !== undefined && of > 0;
  return pair(
    'In hand',
    item ? whatOf(item.row) : '',
    item ? ' ' : '',
    hash(current.request, true),
    el('br'),
    `${current.stage} for ${duration(Math.max(0, now - timeOf(current.since)))}`,
    file !== undefined && `, ${file}`,
    progress && `, ${decimal(done)} of ${plural(of, 'program')}`,
    progress && el('progress', { max: String(of), value: String(done), 'aria-label': 'programs done' }),
  );
}

function channelPairs({ channels }: Signer, channel: Signer['channels'][number], now: number): Child[] {
  const { certificate, successor, authorities } = channel;
  const label = channels.length > 1 ? `, ${channel.name}` : '';
  const end = certificateEnd(channel);
  return [
    ...pair(
      `Certificate${label}`,
      commonName(certificate.subject),
      end !== null &&
        el('span', { class: 'aside' }, end > now ? `, ${duration(end - now)} left` : ', expired'),
      successor &&
        el(
          'span',
          { class: 'aside' },
          `, successor from ${successor.from.slice(0, 10)}${successor.open ? '' : ', not open'}`,
        ),
    ),
    ...(authorities.length > 0
      ? pair(`Timestamps${label}`, el('ul', { class: 'plain' }, ...authorities.map(authority)))
      : []),
  ];
}

const CIRCUITS = { closed: 'answers', 'half-open': 'is tried again', open: 'is down' } as const;

const authority = ({
  url,
  circuit,
  medianMs,
}: Signer['channels'][number]['authorities'][number]): HTMLElement =>
  el(
    'li',
    { class: circuit },
    url,
    ` ${CIRCUITS[circuit]}`,
    circuit === 'closed' && medianMs !== null && `, ${decimal(Math.round(medianMs))} ms`,
  );

/** The queue: requests without an answer, oldest first, and what each of them waits for. */
import { askedAt, data, items, type AuditItem } from './audit-data.ts';
import { hash } from './components.ts';
import { byId, el } from './dom.ts';
import { duration, plural } from './format.ts';
import { askedOf, whatOf } from './row-text.ts';
import { stateOf } from './signer-state.ts';
import { reveal } from './table.ts';

/** Requests that are listed; the others are in the table. */
const LISTED = 12;

const queued: readonly AuditItem[] = items
  .filter(({ row }) => row.outcome === 'waiting')
  .sort((a, b) => a.when - b.when);

/** Draws the queue as it is at a time. */
export function drawQueue(now: number): void {
  const more = queued.length - LISTED;
  byId('queue').hidden = queued.length === 0 && data.page.every === null;
  byId('queueTitle').textContent =
    queued.length === 0 ? 'Queue' : `Queue: ${plural(queued.length, 'request')}`;
  byId('queueList').replaceChildren(
    ...queued.slice(0, LISTED).map((item) => line(item, now)),
    ...(queued.length === 0 ? [el('p', { class: 'aside' }, 'Every request has an answer.')] : []),
    ...(more > 0
      ? [el('p', { class: 'aside' }, `and ${plural(more, 'later request')}; the table has all`)]
      : []),
  );
}

function line(item: AuditItem, now: number): HTMLElement {
  const { row } = item;
  const button = el('button', { type: 'button', class: 'name' }, whatOf(row));
  button.addEventListener('click', () => reveal(item.index));
  const why = reasonOf(item, now);
  return el(
    'div',
    { class: `queued${why.isSigning ? ' signing' : ''}` },
    el('span', {}, button, ' ', hash(row.request, true)),
    el('span', { class: 'aside' }, row.askedBy ? askedOf(row) : `(${askedOf(row)})`),
    el('span', { class: 'aside' }, `for ${duration(Math.max(0, now - askedAt(row)))}`),
    el('span', { class: 'why' }, why.text),
  );
}

/** What a request waits for: first what the repository proves, then what signers say. */
function reasonOf(
  { row: { request, waitingFor } }: AuditItem,
  now: number,
): { text: string; isSigning: boolean } {
  for (const signer of data.page.health.signers) {
    const { current } = signer;
    if (current?.request === request && stateOf(signer, now) === 'signing')
      return { text: `in hand: ${current.stage}`, isSigning: true };
  }
  if (waitingFor !== null) return { text: `waits: ${waitingFor}`, isSigning: false };
  const told = data.page.health.signers
    .flatMap(({ waiting }) => waiting)
    .find((each) => each.request === request);
  const isRunning = data.page.health.signers.some((signer) =>
    ['signing', 'idle'].includes(stateOf(signer, now)),
  );
  const otherwise = isRunning ? 'waits its turn' : 'waits for a signer';
  return { text: told ? `waits: ${told.code}` : otherwise, isSigning: false };
}

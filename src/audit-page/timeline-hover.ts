/** The pointer on the timeline: over a mark, a tip describes the row; a click scrolls to it. */
import { byId, el } from './dom.ts';
import { askedOf, whatOf } from './row-text.ts';
import { badge } from './outcome-icons.ts';
import { reveal } from './table.ts';
import { drawTimeline, markAt, type Mark } from './timeline.ts';
import { minute } from './format.ts';

export function listenTimeline(): void {
  const holder = byId('drawing');
  holder.addEventListener('pointermove', (event) => highlight(markUnder(event)));
  holder.addEventListener('pointerleave', () => highlight(null));
  holder.addEventListener('click', (event) => {
    const mark = markUnder(event);
    if (mark) reveal(mark.item.index);
  });
  drawWhenResized(holder);
}

const haloOf = (holder: HTMLElement): Element | null => holder.querySelector('.halo');

function markUnder(event: MouseEvent): Mark | null {
  const holder = byId('drawing');
  const box = holder.getBoundingClientRect();
  return markAt(event.clientX - box.left + holder.scrollLeft, event.clientY - box.top);
}

/** Highlights a mark and shows its tip; hides both if there is none. */
function highlight(mark: Mark | null): void {
  const holder = byId('drawing');
  const halo = haloOf(holder);
  byId('tip').hidden = mark === null;
  holder.classList.toggle('hot', mark !== null);
  halo?.setAttribute('visibility', mark ? 'visible' : 'hidden');
  if (!mark) return;
  halo?.setAttribute('cx', String(mark.x));
  halo?.setAttribute('cy', String(mark.y));
  showTip(mark, holder.clientWidth);
}

function showTip(mark: Mark, room: number): void {
  const tip = byId('tip');
  tip.replaceChildren(...tipContent(mark));
  tip.style.left = `${Math.min(Math.max(mark.x - 120, 0), Math.max(0, room - 250))}px`;
  tip.style.top = `${mark.y + 14}px`;
}

const tipContent = ({ item: { row } }: Mark): (Node | string)[] => [
  badge(row.outcome),
  el('strong', {}, ` ${whatOf(row)}`),
  el('br'),
  `asked ${minute(row.requestedAt)} by ${askedOf(row) || '?'}`,
  el('br'),
  row.answeredAt === null ? 'no answer yet' : `answered ${minute(row.answeredAt)}`,
];

function drawWhenResized(holder: HTMLElement): void {
  let width = holder.clientWidth;
  new ResizeObserver(() => {
    if (holder.clientWidth === width) return;
    width = holder.clientWidth;
    drawTimeline();
  }).observe(holder);
}

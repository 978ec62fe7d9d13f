/** The rows of the table: drawn in portions, opened to their details and closed. */
import { items, type Item } from './data.ts';
import { detailLine } from './details.ts';
import { byId, must } from './dom.ts';
import { detailId, rowId, rowLine } from './row-line.ts';
import { state } from './state.ts';
import { decimal } from './format.ts';

/** Rows that are put into the page at once; more come as one scrolls. */
const PORTION = 200;

/** Draws the table from its beginning. */
export function drawTable(): void {
  byId('rows').replaceChildren();
  state.drawn = 0;
  drawMore();
}

/** Puts the next portion of what was found into the page. */
export const drawMore = (): void => drawRows(state.drawn + PORTION);

/** Puts everything that was found into the page. */
export const drawAll = (): void => drawRows(state.found.length);

function drawRows(until: number): void {
  const rows = state.found.slice(state.drawn, until);
  byId('rows').append(...rows.flatMap(linesOf));
  state.drawn += rows.length;
  const more = byId('more');
  more.hidden = state.drawn === state.found.length;
  more.textContent = `Show all ${decimal(state.found.length)} rows`;
}

/** A row's line, and its details if they are open. */
function linesOf(item: Item): HTMLElement[] {
  const { index } = item;
  const isOpen = state.open.has(index);
  const line = rowLine(item, isOpen);
  line.addEventListener('click', ({ target }) => {
    const selects = (getSelection()?.toString() ?? '') !== '';
    if ((target as Element).closest('button') || !selects) toggle(index);
  });
  return isOpen ? [line, detailOf(item)] : [line];
}

/** A row's details, which Escape closes. */
function detailOf({ row, index }: Item): HTMLElement {
  const line = detailLine(row, detailId(index));
  line.addEventListener('keydown', ({ key }) => {
    if (key !== 'Escape') return;
    toggle(index);
    buttonOf(index).focus();
  });
  return line;
}

const buttonOf = (index: number): HTMLButtonElement => must(byId(rowId(index)).querySelector('button'));

/** Opens or closes the details of a row, which is in the page. */
function toggle(index: number): void {
  const line = byId(rowId(index));
  const button = buttonOf(index);
  const isOpen = !state.open.has(index);
  if (isOpen) {
    state.open.add(index);
    line.after(detailOf(must(items[index])));
    button.setAttribute('aria-controls', detailId(index));
  } else {
    state.open.delete(index);
    byId(detailId(index)).remove();
    button.removeAttribute('aria-controls');
  }
  line.classList.toggle('open', isOpen);
  button.setAttribute('aria-expanded', String(isOpen));
}

/** Brings a row into the page and into view, its details open; unless the filters keep it out. */
export function reveal(index: number): void {
  const place = state.found.findIndex((item) => item.index === index);
  if (place < 0) return;
  if (place >= state.drawn) drawRows(place + PORTION);
  if (!state.open.has(index)) toggle(index);
  byId(rowId(index)).scrollIntoView({ block: 'center' });
  buttonOf(index).focus({ preventScroll: true });
}

/** The rows of the table: draws them in portions, opens and closes their details. */
import { items, type AuditItem } from './audit-data.ts';
import { detailLine } from './details.ts';
import { byId, must } from './dom.ts';
import { detailId, rowId, rowLine } from './table-row.ts';
import { state } from './state.ts';
import { decimal } from './format.ts';

/** Rows that are drawn at once; more are drawn when the reader scrolls. */
const PORTION = 200;

/** Draws the table again from its beginning. */
export function drawTable(): void {
  byId('rows').replaceChildren();
  state.drawn = 0;
  drawMore();
}

/** Draws the next portion of rows. */
export const drawMore = (): void => drawRows(state.drawn + PORTION);

/** Draws all rows. */
export const drawAll = (): void => drawRows(state.matches.length);

function drawRows(until: number): void {
  const rows = state.matches.slice(state.drawn, until);
  byId('rows').append(...rows.flatMap(linesOf));
  state.drawn += rows.length;
  const more = byId('more');
  more.hidden = state.drawn === state.matches.length;
  more.textContent = `Show all ${decimal(state.matches.length)} rows`;
}

/** The elements of a row: its line, and its details if they are open. */
function linesOf(item: AuditItem): HTMLElement[] {
  const { index } = item;
  const isOpen = state.open.has(index);
  const line = rowLine(item, isOpen);
  line.addEventListener('click', ({ target }) => {
    const selects = (getSelection()?.toString() ?? '') !== '';
    if ((target as Element).closest('button') || !selects) toggle(index);
  });
  return isOpen ? [line, detailOf(item)] : [line];
}

/** The details of a row; Escape closes them. */
function detailOf({ row, index }: AuditItem): HTMLElement {
  const line = detailLine(row, detailId(index));
  line.addEventListener('keydown', ({ key }) => {
    if (key !== 'Escape') return;
    toggle(index);
    buttonOf(index).focus();
  });
  return line;
}

const buttonOf = (index: number): HTMLButtonElement => must(byId(rowId(index)).querySelector('button'));

/** Opens or closes the details of a row that is drawn. */
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

/** Draws a row, scrolls to it and opens its details, unless the filters exclude it. */
export function reveal(index: number): void {
  const place = state.matches.findIndex((item) => item.index === index);
  if (place < 0) return;
  if (place >= state.drawn) drawRows(place + PORTION);
  if (!state.open.has(index)) toggle(index);
  byId(rowId(index)).scrollIntoView({ block: 'center' });
  buttonOf(index).focus({ preventScroll: true });
}

/** The head of the table; a click on a title sorts the table. */
import { COLUMNS, NAMES, type ColumnKey } from './columns.ts';
import { byId, el } from './dom.ts';
import { state } from './state.ts';

const heads = new Map<ColumnKey, HTMLElement>();

/** Draws the head; calls `changed` whenever the sort order changes. */
export function drawTableHead(changed: () => void): void {
  for (const [key, title] of COLUMNS) heads.set(key, headCell(key, title, changed));
  byId('head').append(el('tr', { role: 'row' }, ...heads.values()));
}

function headCell(key: ColumnKey, title: string, changed: () => void): HTMLElement {
  const arrow = el('span', { class: 'arrow', 'aria-hidden': 'true' });
  const button = el('button', { type: 'button' }, title, arrow);
  button.addEventListener('click', () => {
    state.ascending = state.sort === key ? !state.ascending : NAMES.includes(key);
    state.sort = key;
    changed();
  });
  return el('th', { scope: 'col', role: 'columnheader', class: key }, button);
}

/** Marks the column that the table is sorted by. */
export function showSort(): void {
  for (const [key, cell] of heads)
    if (key === state.sort) cell.setAttribute('aria-sort', state.ascending ? 'ascending' : 'descending');
    else cell.removeAttribute('aria-sort');
}

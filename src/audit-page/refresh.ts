/** Shows anew what passes the filters. */
import { items } from './data.ts';
import { byId } from './dom.ts';
import { find, state } from './state.ts';
import { showSort } from './table-head.ts';
import { drawTable } from './table.ts';
import { drawTimeline } from './timeline.ts';
import { decimal, plural } from './format.ts';

export function refresh(): void {
  find();
  drawTable();
  showSort();
  showCount();
  drawTimeline();
}

function showCount(): void {
  const { found } = state;
  const all = plural(items.length, 'row');
  byId('status').textContent = found.length === items.length ? all : `${decimal(found.length)} of ${all}`;
  byId('empty').hidden = found.length > 0;
}

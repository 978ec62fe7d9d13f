/** Updates the page after a change of filters or sort order. */
import { items } from './audit-data.ts';
import { byId } from './dom.ts';
import { state, updateMatches } from './state.ts';
import { showSort } from './table-head.ts';
import { drawTable } from './table.ts';
import { drawTimeline } from './timeline.ts';
import { decimal, plural } from './format.ts';

export function refresh(): void {
  updateMatches();
  drawTable();
  showSort();
  showCount();
  drawTimeline();
}

function showCount(): void {
  const { matches } = state;
  const all = plural(items.length, 'row');
  byId('status').textContent = matches.length === items.length ? all : `${decimal(matches.length)} of ${all}`;
  byId('empty').hidden = matches.length > 0;
  byId('empty').textContent = items.length === 0 ? 'There are no requests yet.' : 'Nothing matches.';
}

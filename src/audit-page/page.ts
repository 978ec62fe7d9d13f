/**
 * The script of the audit page: draws the table, the timeline and the details from the JSON in the page. It uses no
 * libraries, asks no other place than its own server for anything (and that only if it is written regularly), and makes no markup from text: texts of the repository were made printable by the auditor
 * and are set through `textContent`.
 */
import { data, items } from './audit-data.ts';
import { byId } from './dom.ts';
import { drawFilters } from './filters.ts';
import { drawFacts, drawVerdict } from './page-header.ts';
import { listenTimeline } from './timeline-hover.ts';
import { startClock } from './live.ts';
import { refresh } from './refresh.ts';
import { drawRevocation } from './revocation.ts';
import { state } from './state.ts';
import { drawTableHead } from './table-head.ts';
import { drawAll, drawMore, reveal } from './table.ts';
import { restoreView } from './view-state.ts';

/** Opens the request or receipt that the address names: `audit.html#803d118645`. */
function openFromAddress(): void {
  const id = location.hash.slice(1).toLowerCase();
  if (!/^[0-9a-f]{7,40}$/.test(id)) return;
  const item = items.find(({ row }) => row.request.startsWith(id) || row.receipt?.startsWith(id));
  if (item) reveal(item.index);
}

/** Draws more rows when the reader scrolls, and all rows on request or for printing. */
function listenForMore(): void {
  byId('more').addEventListener('click', drawAll);
  new IntersectionObserver((entries) => {
    if (entries.some((entry) => entry.isIntersecting) && state.drawn < state.matches.length) drawMore();
  }).observe(byId('end'));
  addEventListener('beforeprint', drawAll);
}

drawVerdict();
drawFacts();
if (data.revocation) drawRevocation(data.revocation);
drawFilters(refresh);
drawTableHead(refresh);
const restorePosition = restoreView();
refresh();
startClock();
listenTimeline();
listenForMore();
addEventListener('hashchange', openFromAddress);
if (restorePosition) restorePosition();
else openFromAddress();
document.documentElement.dataset['ready'] = 'true';

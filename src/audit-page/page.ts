/**
 * The audit page's script: draws the table, the timeline and the details from the JSON in the page. It runs in a
 * browser, alone: no network, no libraries, no markup made of text. Whatever the repository says goes through
 * `textContent`, and was made printable before it came here.
 */
import { data, items } from './data.ts';
import { byId } from './dom.ts';
import { drawFilters } from './filters.ts';
import { drawFacts, drawVerdict } from './page-header.ts';
import { listenTimeline } from './timeline-hover.ts';
import { refresh } from './refresh.ts';
import { drawRevocation } from './revocation.ts';
import { state } from './state.ts';
import { drawTableHead } from './table-head.ts';
import { drawAll, drawMore, reveal } from './table.ts';

/** A page may be opened at a request or receipt: `audit.html#803d118645`. */
function openNamed(): void {
  const id = location.hash.slice(1).toLowerCase();
  if (!/^[0-9a-f]{7,40}$/.test(id)) return;
  const named = items.find(({ row }) => row.request.startsWith(id) || row.receipt?.startsWith(id));
  if (named) reveal(named.index);
}

/** More rows come as one scrolls, and all of them when that is asked for or they are printed. */
function listenForMore(): void {
  byId('more').addEventListener('click', drawAll);
  new IntersectionObserver((entries) => {
    if (entries.some((entry) => entry.isIntersecting) && state.drawn < state.found.length) drawMore();
  }).observe(byId('end'));
  addEventListener('beforeprint', drawAll);
}

drawVerdict();
drawFacts();
if (data.revocation) drawRevocation(data.revocation);
drawFilters(refresh);
drawTableHead(refresh);
refresh();
listenTimeline();
listenForMore();
addEventListener('hashchange', openNamed);
openNamed();
document.documentElement.dataset['ready'] = 'true';

/** Keeps what the reader chose while the page is loaded again: filters, sort order, open rows, position. */
import type { RowOutcome } from '../app/auditor/model.ts';
import type { ColumnKey } from './columns.ts';
import { items } from './audit-data.ts';
import { inputById } from './dom.ts';
import { takeFilters } from './filters.ts';
import { OUTCOMES } from './outcomes.ts';
import { state } from './state.ts';
import { drawRows } from './table.ts';

/** A view in the browser's own record of this page. Rows are named by request and receipt, since indexes change. */
interface View {
  readonly search: string;
  readonly from: string;
  readonly to: string;
  readonly outcomes: readonly string[];
  readonly sort: ColumnKey;
  readonly ascending: boolean;
  readonly open: readonly string[];
  readonly drawn: number;
  readonly scroll: number;
}

const FIELDS = ['search', 'from', 'to'] as const;

const keyOf = (index: number): string => {
  const row = items[index]?.row;
  return `${row?.request ?? ''} ${row?.receipt ?? ''}`;
};

/** Keeps the present view for the next load. */
export function keepView(): void {
  const [search, from, to] = FIELDS.map((id) => inputById(id).value);
  const { outcomes, sort, ascending, open, drawn } = state;
  const kept = { outcomes: [...outcomes], open: [...open].map(keyOf), scroll: scrollY };
  const view = { search, from, to, sort, ascending, drawn, ...kept };
  history.replaceState({ view }, '');
}

/**
 * Restores the view that was kept, to be called before the first draw; returns what restores the position after it, or null
 * if no view was kept.
 */
export function restoreView(): (() => void) | null {
  const view = (history.state as { view?: View } | null)?.view;
  if (!view) return null;
  history.replaceState(null, '');
  for (const id of FIELDS) inputById(id).value = view[id];
  takeFilters();
  for (const outcome of OUTCOMES.filter((each) => !view.outcomes.includes(each))) hideOutcome(outcome);
  state.sort = view.sort;
  state.ascending = view.ascending;
  const open = new Set(view.open);
  if (open.size > 0) for (const { index } of items) if (open.has(keyOf(index))) state.open.add(index);
  return () => {
    drawRows(view.drawn);
    scrollTo(0, view.scroll);
  };
}

function hideOutcome(outcome: RowOutcome): void {
  state.outcomes.delete(outcome);
  const box = document.querySelector<HTMLInputElement>(`#outcomes input[value="${outcome}"]`);
  if (box) box.checked = false;
}

/** The filters and sort order that the reader chose, and what is drawn. */
import type { RowOutcome } from '../app/auditor/model.ts';
import { SORTS, type ColumnKey } from './columns.ts';
import { items, type AuditItem } from './audit-data.ts';
import { OUTCOMES } from './outcomes.ts';

interface State {
  /** Words in lower case, all of which a row must contain. */
  words: readonly string[];
  readonly outcomes: Set<RowOutcome>;
  /** Milliseconds, inclusive. */
  from: number;
  to: number;
  sort: ColumnKey;
  ascending: boolean;
  /** The rows that pass the filters, sorted. */
  matches: readonly AuditItem[];
  /** How many of them are drawn. */
  drawn: number;
  /** Indexes of the rows whose details are open. */
  readonly open: Set<number>;
}

export const state: State = {
  words: [],
  outcomes: new Set(OUTCOMES),
  from: -Infinity,
  to: Infinity,
  sort: 'when',
  ascending: false,
  matches: [],
  drawn: 0,
  open: new Set(),
};

const passes = ({ row, when, text }: AuditItem): boolean =>
  state.outcomes.has(row.outcome) &&
  when >= state.from &&
  when <= state.to &&
  state.words.every((word) => text.includes(word));

/** Finds and sorts the rows that pass the filters; among equal ones, the newest comes first. */
export function updateMatches(): void {
  const valueOf = SORTS[state.sort];
  const direction = state.ascending ? 1 : -1;
  const keyed = items.filter(passes).map((item) => ({ item, value: valueOf(item) }));
  keyed.sort((a, b) =>
    a.value < b.value ? -direction : a.value > b.value ? direction : b.item.index - a.item.index,
  );
  state.matches = keyed.map(({ item }) => item);
}

/** What a person has chosen to see, and what is in the page of it. */
import type { RowOutcome } from '../app/auditor/model.ts';
import { SORTS, type ColumnKey } from './columns.ts';
import { items, type Item } from './data.ts';
import { OUTCOMES } from './outcomes.ts';

interface State {
  /** What is searched, in lower case: all of these words. */
  words: readonly string[];
  readonly outcomes: Set<RowOutcome>;
  /** Milliseconds, both included. */
  from: number;
  to: number;
  sort: ColumnKey;
  ascending: boolean;
  /** What passes the filters, in order. */
  found: readonly Item[];
  /** How many of them are in the page. */
  drawn: number;
  /** Whose details are open, by index. */
  readonly open: Set<number>;
}

export const state: State = {
  words: [],
  outcomes: new Set(OUTCOMES),
  from: -Infinity,
  to: Infinity,
  sort: 'when',
  ascending: false,
  found: [],
  drawn: 0,
  open: new Set(),
};

const passes = ({ row, when, text }: Item): boolean =>
  state.outcomes.has(row.outcome) &&
  when >= state.from &&
  when <= state.to &&
  state.words.every((word) => text.includes(word));

/** Finds what passes the filters, and sorts it; what is alike, by the newest first. */
export function find(): void {
  const valueOf = SORTS[state.sort];
  const turn = state.ascending ? 1 : -1;
  const keyed = items.filter(passes).map((item) => ({ item, value: valueOf(item) }));
  keyed.sort((a, b) => (a.value < b.value ? -turn : a.value > b.value ? turn : b.item.index - a.item.index));
  state.found = keyed.map(({ item }) => item);
}

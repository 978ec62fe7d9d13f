/** The filters above the table: outcome, search, dates. */
import type { RowOutcome } from '../app/auditor/model.ts';
import { items } from './audit-data.ts';
import { byId, el, inputById } from './dom.ts';
import { MEANING, OUTCOMES } from './outcomes.ts';
import { outcomeIcon } from './outcome-icons.ts';
import { state } from './state.ts';
import { DAY, dayOf } from './times.ts';
import { decimal } from './format.ts';

/** Milliseconds between the last key and the search. */
const PAUSE = 80;

/** Draws the filters; calls `changed` whenever the selection changes. */
export function drawFilters(changed: () => void): void {
  byId('outcomes').append(...OUTCOMES.map((outcome) => outcomeChip(outcome, changed)));
  listenSearch(changed);
  for (const id of ['from', 'to'])
    inputById(id).addEventListener('change', () => {
      takeFilters();
      changed();
    });
  byId('filters').addEventListener('submit', (event) => event.preventDefault());
}

function outcomeChip(outcome: RowOutcome, changed: () => void): HTMLElement {
  const count = items.filter(({ row }) => row.outcome === outcome).length;
  const box = el('input', { type: 'checkbox', checked: true, value: outcome });
  box.addEventListener('change', () => {
    if (box.checked) state.outcomes.add(outcome);
    else state.outcomes.delete(outcome);
    changed();
  });
  return el(
    'label',
    { class: `chip ${outcome}${count === 0 ? ' none' : ''}`, title: MEANING[outcome] },
    box,
    outcomeIcon(outcome),
    `${outcome} `,
    el('b', {}, decimal(count)),
  );
}

function listenSearch(changed: () => void): void {
  const search = inputById('search');
  let timer: ReturnType<typeof setTimeout> | undefined;
  search.addEventListener('input', () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      takeFilters();
      changed();
    }, PAUSE);
  });
}

/** Takes over what the fields of search and dates contain. */
export function takeFilters(): void {
  const to = dayOf(inputById('to').value);
  state.words = inputById('search').value.toLowerCase().split(/\s+/).filter(Boolean);
  state.from = dayOf(inputById('from').value) ?? -Infinity;
  state.to = to === null ? Infinity : to + DAY - 1;
}

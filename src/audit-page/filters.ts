/** The filters above the table: outcomes, words, days. */
import type { RowOutcome } from '../app/auditor/model.ts';
import { items } from './data.ts';
import { byId, el, inputById } from './dom.ts';
import { MEANING, OUTCOMES } from './outcomes.ts';
import { sign } from './outcome-icons.ts';
import { state } from './state.ts';
import { DAY, timeOf } from './times.ts';
import { decimal } from './format.ts';

/** Milliseconds after the last key until what was typed is searched. */
const PAUSE = 80;

/** Draws and listens; `changed` is called whenever something else is to be seen. */
export function drawFilters(changed: () => void): void {
  byId('outcomes').append(...OUTCOMES.map((outcome) => outcomeChip(outcome, changed)));
  listenSearch(changed);
  listenDay('from', (time) => (state.from = time ?? -Infinity), changed);
  listenDay('to', (time) => (state.to = time === null ? Infinity : time + DAY - 1), changed);
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
    sign(outcome),
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
      state.words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      changed();
    }, PAUSE);
  });
}

/** `set` gets when the day begins that is chosen, in UTC; null when none is. */
function listenDay(id: string, set: (time: number | null) => void, changed: () => void): void {
  const input = inputById(id);
  input.addEventListener('change', () => {
    set(input.value === '' ? null : timeOf(`${input.value}T00:00:00Z`));
    changed();
  });
}

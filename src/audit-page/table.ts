/** The rows of the table: draws them in portions, opens and closes their details. */
import { items, type AuditItem, NOW } from './audit-data.ts';
import { detailLine } from './details.ts';
import { byId, must, el, type Child } from './dom.ts';
import { state } from './state.ts';
import { decimal, commonName, minute, duration } from './format.ts';
import type { AuditRow } from '../app/auditor/model.ts';
import { titleOf, type ColumnKey } from './columns.ts';
import { breakable, warning } from './components.ts';
import { entriesOf, remarkOf, signedOf, whatOf } from './row-text.ts';
import { badge } from './outcome-icons.ts';
import { timeOf } from './times.ts';

/** Rows that are drawn at once; more are drawn when the reader scrolls. */
const PORTION = 200;

/** The element ids of a row, and of its details. */
const rowId = (index: number): string => `row-${index}`;
const detailId = (index: number): string => `detail-${index}`;

const rowLine = ({ row, index }: AuditItem, isOpen: boolean): HTMLElement =>
  el(
    'tr',
    { role: 'row', class: `row ${row.outcome}${isOpen ? ' open' : ''}`, id: rowId(index) },
    cell('when', minute(row.answeredAt ?? row.requestedAt)),
    cell('what', ...whatContent(row, isOpen ? detailId(index) : null)),
    cell('asked', ...askedContent(row)),
    cell('vouched', ...breakable(row.vouchedBy.map(({ signer }) => signer).join(', ') || '–')),
    cell('signed', signedText(row)),
    cell('certificate', ...certificateContent(row)),
    cell('waited', row.waited === null ? waitedSoFar(row) : duration(row.waited)),
    cell('outcome', badge(row.outcome)),
  );

const cell = (key: ColumnKey, ...content: readonly Child[]): HTMLElement =>
  el('td', { role: 'cell', class: key, 'data-label': titleOf(key) }, ...content);

/** The button that opens the details, whose element has the id `detail` while they are open; and a remark. */
function whatContent(row: AuditRow, detail: string | null): Child[] {
  const more = row.files.length > 1 ? ` +${row.files.length - 1}` : '';
  const remark = remarkOf(row);
  return [
    el(
      'button',
      {
        type: 'button',
        class: 'what',
        'aria-expanded': String(detail !== null),
        'aria-controls': detail,
      },
      whatOf(row),
      more,
    ),
    remark !== null && el('span', { class: 'remark' }, remark),
  ];
}

function askedContent(row: AuditRow): Child[] {
  if (row.askedBy) return breakable(row.askedBy.principal);
  if (row.author === '') return ['–'];
  const title = 'only claimed by the commit; no signature proves it';
  return [el('span', { class: 'claim', title }, ...breakable(`(${row.author})`))];
}

function signedText(row: AuditRow): string {
  const signed = signedOf(row);
  return signed > 0 ? `${signed} of ${entriesOf(row)}` : '–';
}

const certificateContent = ({ certificate, test }: AuditRow): Child[] =>
  certificate
    ? [el('span', { title: certificate.sha256 }, commonName(certificate.subject)), test && warning('TEST')]
    : ['–'];

function waitedSoFar(row: AuditRow): string {
  if (row.outcome !== 'waiting' || row.requestedAt === null) return '–';
  const time = NOW - timeOf(row.requestedAt);
  return time < 0 ? '–' : `${duration(time)}\u00a0…`;
}

/** Draws the table again from its beginning. */
export function drawTable(): void {
  byId('rows').replaceChildren();
  state.drawn = 0;
  drawMore();
}

/** Draws the next portion of rows. */
export const drawMore = (): void => drawRows(state.drawn + PORTION);

/** Draws all rows. */
export const drawAll = (): void => drawRows(state.matches.length);

/** Draws the rows before an index that are not drawn yet. */
export function drawRows(until: number): void {
  const rows = state.matches.slice(state.drawn, Math.max(state.drawn, until));
  byId('rows').append(...rows.flatMap(linesOf));
  state.drawn += rows.length;
  const more = byId('more');
  more.hidden = state.drawn === state.matches.length;
  more.textContent = `Show all ${decimal(state.matches.length)} rows`;
}

/** The elements of a row: its line, and its details if they are open. */
function linesOf(item: AuditItem): HTMLElement[] {
  const { index } = item;
  const isOpen = state.open.has(index);
  const line = rowLine(item, isOpen);
  line.addEventListener('click', ({ target }) => {
    const selects = (getSelection()?.toString() ?? '') !== '';
    if ((target as Element).closest('button') || !selects) toggle(index);
  });
  return isOpen ? [line, detailOf(item)] : [line];
}

/** The details of a row; Escape closes them. */
function detailOf({ row, index }: AuditItem): HTMLElement {
  const line = detailLine(row, detailId(index));
  line.addEventListener('keydown', ({ key }) => {
    if (key !== 'Escape') return;
    toggle(index);
    buttonOf(index).focus();
  });
  return line;
}

const buttonOf = (index: number): HTMLButtonElement => must(byId(rowId(index)).querySelector('button'));

/** Opens or closes the details of a row that is drawn. */
function toggle(index: number): void {
  const line = byId(rowId(index));
  const button = buttonOf(index);
  const isOpen = !state.open.has(index);
  if (isOpen) {
    state.open.add(index);
    line.after(detailOf(must(items[index])));
    button.setAttribute('aria-controls', detailId(index));
  } else {
    state.open.delete(index);
    byId(detailId(index)).remove();
    button.removeAttribute('aria-controls');
  }
  line.classList.toggle('open', isOpen);
  button.setAttribute('aria-expanded', String(isOpen));
}

/** Draws a row, scrolls to it and opens its details, unless the filters exclude it. */
export function reveal(index: number): void {
  const place = state.matches.findIndex((item) => item.index === index);
  if (place < 0) return;
  if (place >= state.drawn) drawRows(place + PORTION);
  if (!state.open.has(index)) toggle(index);
  byId(rowId(index)).scrollIntoView({ block: 'center' });
  buttonOf(index).focus({ preventScroll: true });
}

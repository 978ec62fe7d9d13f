/** A row of the audit as a row of the table. */
import type { AuditRow } from '../app/auditor/model.ts';
import { titleOf, type ColumnKey } from './columns.ts';
import { NOW, type AuditItem } from './audit-data.ts';
import { el, type Child } from './dom.ts';
import { breakable, warning } from './components.ts';
import { entriesOf, remarkOf, signedOf, whatOf } from './row-text.ts';
import { badge } from './outcome-icons.ts';
import { timeOf } from './times.ts';
import { commonName, minute, duration } from './format.ts';

/** The element ids of a row, and of its details. */
export const rowId = (index: number): string => `row-${index}`;
export const detailId = (index: number): string => `detail-${index}`;

export const rowLine = ({ row, index }: AuditItem, isOpen: boolean): HTMLElement =>
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

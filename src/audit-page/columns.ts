/** The columns of the table, and the value that each sorts by. */
import { NOW, type AuditItem } from './audit-data.ts';
import { OUTCOMES } from './outcomes.ts';
import { askedOf, signedOf, whatOf } from './row-text.ts';
import { timeOf } from './times.ts';
import { commonName } from './format.ts';

export const COLUMNS = [
  ['when', 'When (UTC)'],
  ['what', 'What'],
  ['asked', 'Asked by'],
  ['vouched', 'Vouched by'],
  ['signed', 'Signed'],
  ['certificate', 'Certificate'],
  ['waited', 'Waited'],
  ['outcome', 'Outcome'],
] as const satisfies readonly (readonly [key: string, title: string])[];

export type ColumnKey = (typeof COLUMNS)[number][0];

export const titleOf = (column: ColumnKey): string => COLUMNS.find(([key]) => key === column)?.[1] ?? '';

export const SORTS: Readonly<Record<ColumnKey, (item: AuditItem) => string | number>> = {
  when: ({ when }) => when,
  what: ({ row }) => whatOf(row).toLowerCase(),
  asked: ({ row }) => askedOf(row).toLowerCase(),
  vouched: ({ row }) => row.vouchedBy.length,
  signed: ({ row }) => signedOf(row),
  certificate: ({ row }) => (row.certificate ? commonName(row.certificate.subject) : ''),
  waited: ({ row }) => row.waited ?? (row.requestedAt ? NOW - timeOf(row.requestedAt) : -1),
  outcome: ({ row }) => -OUTCOMES.indexOf(row.outcome),
};

/** Columns of names, sorted from A to Z at first; the others begin with the largest or newest. */
export const NAMES: readonly ColumnKey[] = ['what', 'asked', 'certificate'];

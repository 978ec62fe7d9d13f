import { printable } from '../../lib/printable.ts';
import { countSigned } from '../../protocol/control/receipt-schema.ts';
import type { AuditRow } from './model.ts';

/** `2026-01-31 09:30`, in UTC. */
export const minute = (iso: string): string => iso.slice(0, 16).replace('T', ' ');

const UNITS: readonly (readonly [seconds: number, unit: string])[] = [
  [365 * 86_400, 'y'],
  [86_400, 'd'],
  [3600, 'h'],
  [60, 'm'],
];

/** A duration in its largest whole unit: `45s`, `12m`, `3h`, `9d`, `2y`. */
export function durationText(milliseconds: number): string {
  const seconds = Math.round(milliseconds / 1000);
  const [size, unit] = UNITS.find(([least]) => seconds >= least) ?? [1, 's'];
  return `${Math.floor(seconds / size)}${unit}`;
}

/** The subject of a row: its files, or the first line of the message if there are none. */
export function whatOf(row: AuditRow): string {
  const [first, ...more] = row.files;
  if (!first) return printable(row.subject, 200) || '(nothing that can be read)';
  const name = printable(first.input.name, 255);
  return more.length === 0 ? name : `${name} +${more.length}`;
}

/** The requester: the proven principal, or in parentheses the author that the commit claims. */
export function askedBy(row: AuditRow): string {
  if (row.askedBy) return printable(row.askedBy.principal, 100);
  return row.author === '' ? '-' : `(${printable(row.author, 100)})`;
}

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);

/** The number of signed programs, without those in containers, and of files in what was sent. */
export function countsOf(row: AuditRow): { signed: number; entries: number } {
  return {
    signed: sum(row.files.map((file) => countSigned(file).own)),
    entries: sum(row.files.map((file) => file.entries)),
  };
}

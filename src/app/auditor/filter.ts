import { posix } from 'node:path';
import { compilePatterns } from '../../engine/artifact/globs.ts';
import type { AuditRow, RowOutcome } from './model.ts';

/** Selects the rows to show; all rows are verified in any case. */
export interface RowFilter {
  /** Only rows that were answered at this time or later, and those that wait. */
  readonly since?: Date | undefined;
  /** A pattern like `*.zip` for the whole name of a file or the last part of it. */
  readonly name?: string | undefined;
  readonly outcome?: RowOutcome | undefined;
}

const names = (row: AuditRow): string[] => row.files.map(({ input }) => input.name);

/** A function that decides whether a row is shown. */
export function rowFilter({ since, name, outcome }: RowFilter): (row: AuditRow) => boolean {
  const isNamed = name === undefined ? null : compilePatterns([name]);
  return (row) =>
    (outcome === undefined || row.outcome === outcome) &&
    (since === undefined || row.answeredAt === null || new Date(row.answeredAt) >= since) &&
    (isNamed === null || names(row).some((each) => isNamed(each) || isNamed(posix.basename(each))));
}

/** The rows to show; filtered again in each iteration. */
export const filterRows = (
  rows: Iterable<AuditRow>,
  isShown: (row: AuditRow) => boolean,
): Iterable<AuditRow> => ({
  *[Symbol.iterator]() {
    for (const row of rows) if (isShown(row)) yield row;
  },
});

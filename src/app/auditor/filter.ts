import { posix } from 'node:path';
import { compilePatterns } from '../../engine/artifact/globs.ts';
import type { AuditRow, RowOutcome } from './model.ts';

/** Which rows to show. Everything is verified all the same. */
export interface RowFilter {
  /** Answered at this time or later; what waits is always shown. */
  readonly since?: Date | undefined;
  /** A file is named so: a pattern like `*.zip`, over the whole name or its last part. */
  readonly name?: string | undefined;
  readonly outcome?: RowOutcome | undefined;
}

const names = (row: AuditRow): string[] => row.files.map(({ input }) => input.name);

/** Whether a row is to be shown. */
export function rowFilter({ since, name, outcome }: RowFilter): (row: AuditRow) => boolean {
  const isNamed = name === undefined ? null : compilePatterns([name]);
  return (row) =>
    (outcome === undefined || row.outcome === outcome) &&
    (since === undefined || row.answeredAt === null || new Date(row.answeredAt) >= since) &&
    (isNamed === null || names(row).some((each) => isNamed(each) || isNamed(posix.basename(each))));
}

/** Those of some rows that are to be shown, whenever somebody goes through them. */
export const filterRows = (
  rows: Iterable<AuditRow>,
  isShown: (row: AuditRow) => boolean,
): Iterable<AuditRow> => ({
  *[Symbol.iterator]() {
    for (const row of rows) if (isShown(row)) yield row;
  },
});

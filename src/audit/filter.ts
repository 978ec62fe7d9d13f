import { posix } from 'node:path';
import { compilePatterns } from '../signing/patterns.ts';
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

export function filterRows(
  rows: readonly AuditRow[],
  { since, name, outcome }: RowFilter,
): readonly AuditRow[] {
  const isNamed = name === undefined ? null : compilePatterns([name]);
  return rows.filter(
    (row) =>
      (outcome === undefined || row.outcome === outcome) &&
      (since === undefined || row.answeredAt === null || new Date(row.answeredAt) >= since) &&
      (isNamed === null || names(row).some((each) => isNamed(each) || isNamed(posix.basename(each)))),
  );
}

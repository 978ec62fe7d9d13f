import { printable } from '../../lib/printable.ts';
import type { Column } from './columns.ts';
import { Grid, painter, type TableOptions } from './text-table.ts';
import type { RowOutcome } from './model.ts';
import type { Revocation, RevokedProgram } from './revocation.ts';
import { plural } from '../../lib/plural.ts';
import { minute } from './format.ts';

const REVOKED: readonly Column[] = [
  { title: 'STAMPED (UTC)' },
  { title: 'FILE', atLeast: 12 },
  { title: 'PROGRAM', atLeast: 12 },
  { title: 'SHA-256', atLeast: 12 },
  { title: 'WHY' },
];

const revokedCells = ({ timestamp, file, path, sha256, why }: RevokedProgram): string[] => [
  timestamp === null ? '-' : minute(timestamp),
  printable(file, 255),
  path === '' ? '-' : printable(path, 400),
  sha256,
  why,
];

/** What a revocation would kill, and what survives. */
export function revocationText(revocation: Revocation, options: TableOptions): string {
  const { killed, surviving } = revocation;
  const paint = painter(options);
  const part = (title: string, programs: readonly RevokedProgram[], how: RowOutcome): string[] => {
    const grid = new Grid(REVOKED);
    for (const program of programs) grid.add(revokedCells(program));
    const { head, lines } = grid.fitted(options.width);
    return [paint(title, how), ...(grid.isEmpty ? [] : [paint(head, 'dim')]), ...lines, ''];
  };
  return [
    printable(revocation.subject, 200),
    `${revocation.certificate}, revoked as of ${revocation.at}`,
    '',
    ...part(`${plural(killed.length, 'signature')} die${killed.length === 1 ? 's' : ''}`, killed, 'rejected'),
    ...part(
      `${plural(surviving.length, 'signature')} survive${surviving.length === 1 ? 's' : ''} by timestamp`,
      surviving,
      'signed',
    ),
  ]
    .map((line) => line.trimEnd())
    .join('\n');
}

import { printable } from '../../lib/printable.ts';
import { type Column, TextTable, painter, type TableOptions } from './text-table.ts';
import type { RowOutcome, Revocation, RevokedProgram } from './model.ts';
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

/** Lists the signatures that a revocation would invalidate, and those that stay valid. */
export function revocationText(revocation: Revocation, options: TableOptions): string {
  const { killed, surviving } = revocation;
  const paint = painter(options);
  const part = (title: string, programs: readonly RevokedProgram[], how: RowOutcome): string[] => {
    const table = new TextTable(REVOKED);
    for (const program of programs) table.add(revokedCells(program));
    const { head, lines } = table.fitted(options.width);
    return [paint(title, how), ...(table.isEmpty ? [] : [paint(head, 'dim')]), ...lines, ''];
  };
  return [
    printable(revocation.subject, 200),
    `${revocation.certificate}, revoked as of ${revocation.at}`,
    '',
    ...part(
      `${plural(killed.length, 'signature')} become${killed.length === 1 ? 's' : ''} invalid`,
      killed,
      'rejected',
    ),
    ...part(
      `${plural(surviving.length, 'signature')} stay${surviving.length === 1 ? 's' : ''} valid by timestamp`,
      surviving,
      'signed',
    ),
  ]
    .map((line) => line.trimEnd())
    .join('\n');
}

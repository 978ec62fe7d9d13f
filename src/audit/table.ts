import { printable } from '../printable.ts';
import { shortId } from '../control/objects.ts';
import { columnWidths, fit, type Column } from './columns.ts';
import type { Audit, AuditRow, Problem, RowOutcome } from './model.ts';
import { OUTCOMES } from './model.ts';
import type { Revocation, RevokedProgram } from './revocation.ts';
import { askedBy, countsOf, minute, plural, spanOf, whatOf } from './words.ts';

export interface TableOptions {
  /** Cells of the terminal; 80 at least. */
  readonly width: number;
  readonly colour: boolean;
  readonly now: Date;
}

/** Problems told one by one; the rest is counted. */
const PROBLEM_LIMIT = 40;

const PAINT: Record<RowOutcome | 'dim' | 'good', string> = {
  signed: '32',
  good: '32',
  rejected: '1;31',
  failed: '33',
  waiting: '36',
  unproven: '1;37;41',
  dim: '2',
};

const painter =
  ({ colour }: TableOptions) =>
  (text: string, how: keyof typeof PAINT): string =>
    colour ? `\u001b[${PAINT[how]}m${text}\u001b[0m` : text;

/** Lines of cells under their titles, cut to the terminal. */
function grid(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  width: number,
): { head: string; lines: string[] } {
  const gap = width < 100 ? ' ' : '  ';
  const widths = columnWidths(columns, rows, width - gap.length * (columns.length - 1));
  const line = (cells: readonly string[]): string =>
    cells.map((cell, i) => fit(cell, widths[i] ?? 0)).join(gap);
  return { head: line(columns.map(({ title }) => title)), lines: rows.map(line) };
}

const COLUMNS: readonly Column[] = [
  { title: 'WHEN (UTC)' },
  { title: 'WHAT', atLeast: 12 },
  { title: 'ASKED BY', atLeast: 8 },
  { title: 'VOUCHED', atLeast: 7 },
  { title: 'SIGNED' },
  { title: 'CERT' },
  { title: 'WAITED' },
  { title: 'OUTCOME' },
];

function cellsOf(row: AuditRow, now: Date): string[] {
  const { signed, entries } = countsOf(row);
  const when = row.answeredAt ?? row.requestedAt;
  const so = row.requestedAt === null ? 0 : now.getTime() - new Date(row.requestedAt).getTime();
  const sofar = row.outcome === 'waiting' && so > 0 ? `${spanOf(so)}…` : '-';
  return [
    when === null ? '-' : minute(when),
    whatOf(row),
    askedBy(row),
    row.vouchedBy.map(({ signer }) => printable(signer, 100)).join(' ') || '-',
    signed > 0 ? `${signed}/${entries}` : '-',
    row.certificate?.sha256.slice(0, 8) ?? '-',
    row.waited === null ? sofar : spanOf(row.waited),
    row.outcome,
  ];
}

/** The line under a row that needs one. */
function remarkOf(row: AuditRow): string | null {
  const [problem] = row.problems;
  if (problem) return `${problem.code}: ${printable(problem.message, 400)}`;
  if (row.reason) return `${printable(row.reason.code, 100)}: ${printable(row.reason.message, 400)}`;
  return row.waitingFor === null ? null : `waits: ${printable(row.waitingFor, 200)}`;
}

/** The rows as a table; refusals and what is wrong stand on a line of their own below. */
export function tableText(rows: readonly AuditRow[], options: TableOptions): string {
  const paint = painter(options);
  const { head, lines } = grid(
    COLUMNS,
    rows.map((row) => cellsOf(row, options.now)),
    options.width,
  );
  const painted = rows.flatMap((row, i) => {
    const [text = '', remark] = [lines[i], remarkOf(row)];
    const at = text.lastIndexOf(row.outcome);
    const line = text.slice(0, at) + paint(row.outcome, row.outcome);
    return remark === null
      ? [line]
      : [line, `  ${paint(fit(remark, options.width - 2, false), row.outcome)}`];
  });
  return [paint(head.trimEnd(), 'dim'), ...painted].join('\n');
}

/** How often each outcome came, those that never did left out. */
const tally = (rows: readonly AuditRow[]): string =>
  OUTCOMES.map((outcome) => [outcome, rows.filter((row) => row.outcome === outcome).length] as const)
    .filter(([, count]) => count > 0)
    .map(([outcome, count]) => `${count} ${outcome}`)
    .join(', ');

function certificateLines(rows: readonly AuditRow[]): string[] {
  const found = new Map<string, { row: AuditRow; programs: number }>();
  for (const row of rows) {
    if (!row.certificate) continue;
    const entry = found.get(row.certificate.sha256) ?? { row, programs: 0 };
    entry.programs += countsOf(row).signed;
    found.set(row.certificate.sha256, entry);
  }
  return [...found].map(([sha256, { row, programs }]) => {
    const until = row.certificate?.notAfter.slice(0, 10) ?? '';
    return `certificate  ${sha256.slice(0, 8)}  ${printable(row.certificate?.subject ?? '', 200)}${row.test ? ' (TEST)' : ''}, until ${until}: ${plural(programs, 'program')}`;
  });
}

function problemLines(problems: readonly Problem[], options: TableOptions): string[] {
  const paint = painter(options);
  const told = problems
    .slice(0, PROBLEM_LIMIT)
    .flatMap(({ code, commit, message }) => [
      `  ${paint(code, 'rejected')} at ${commit}`,
      `    ${printable(message, 2000)}`,
    ]);
  const more = problems.length - PROBLEM_LIMIT;
  return [
    paint(` ${plural(problems.length, 'PROBLEM').toUpperCase()}: this history does not hold `, 'unproven'),
    ...told,
    ...(more > 0 ? [`  and ${more} more, which --json tells`] : []),
  ];
}

/** Whose repository this is, what is in it, and whether it holds. */
export function summaryText(audit: Audit, shown: readonly AuditRow[], options: TableOptions): string {
  const paint = painter(options);
  const { rows, receiptsBy, heads, hold, problems } = audit;
  const answers = rows.filter((row) => row.receipt !== null).length;
  const hidden = rows.length - shown.length;
  const isClaim = shown.some((row) => row.askedBy === null);
  return [
    `${plural(rows.length - answers, 'request')} waiting, ${plural(answers, 'answer')}: ${tally(rows) || 'none'}${hidden > 0 ? `; ${hidden} not shown` : ''}`,
    receiptsBy === null
      ? 'receipts     by nobody who can be told'
      : `receipts     by ${printable(receiptsBy.principal, 100)}, ${receiptsBy.key}`,
    `branches     requests ${heads.requests === null ? 'none' : shortId(heads.requests)}, receipts ${heads.receipts === null ? 'none' : shortId(heads.receipts)}`,
    ...certificateLines(shown),
    ...(isClaim ? ['( )          who asked is the commit’s own word there, and no signature proves it'] : []),
    ...(hold?.held ? [paint(`HOLD         ${holdText(hold)}`, 'failed')] : []),
    '',
    ...(problems.length > 0
      ? problemLines(problems, options)
      : [
          paint(`${plural(audit.verified, 'commit')} verified: every signature and every link holds`, 'good'),
        ]),
  ].join('\n');
}

function holdText({ by, since, reason }: NonNullable<Audit['hold']>): string {
  const [line = ''] = reason.split('\n');
  return `nothing is signed since ${since === null ? '?' : minute(since.toISOString())}, by ${printable(by ?? 'somebody unknown', 100)}${line === '' ? '' : `: ${printable(line, 200)}`}`;
}

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
    const { head, lines } = grid(REVOKED, programs.map(revokedCells), options.width);
    return [paint(title, how), ...(programs.length > 0 ? [paint(head.trimEnd(), 'dim')] : []), ...lines, ''];
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

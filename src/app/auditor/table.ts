import { printable } from '../../lib/printable.ts';
import { fit, type Column, TextTable, painter, type TableOptions } from './text-table.ts';
import type { AuditRow, RowOutcome } from './model.ts';
import { askedBy, countsOf, minute, durationText, whatOf } from './format.ts';

const COLUMNS: readonly Column[] = [
  { title: 'WHEN (UTC)' },
  { title: 'REQUEST' },
  { title: 'WHAT', atLeast: 10 },
  { title: 'ASKED BY', atLeast: 6 },
  { title: 'VOUCHED', atLeast: 4 },
  { title: 'SIGNED' },
  { title: 'CERT' },
  { title: 'WAITED' },
  { title: 'OUTCOME' },
];

/** Digits of a request's id: enough for every command, fewer on a narrow terminal. */
const idDigits = (width: number): number => (width < 100 ? 8 : 12);

function cellsOf(row: AuditRow, { now, width }: TableOptions): string[] {
  const { signed, entries } = countsOf(row);
  const when = row.answeredAt ?? row.requestedAt;
  const age = row.requestedAt === null ? 0 : now.getTime() - new Date(row.requestedAt).getTime();
  const waitedSoFar = row.outcome === 'waiting' && age > 0 ? `${durationText(age)}…` : '-';
  return [
    when === null ? '-' : minute(when),
    row.request.slice(0, idDigits(width)),
    whatOf(row),
    askedBy(row),
    row.vouchedBy.map(({ signer }) => printable(signer, 100)).join(' ') || '-',
    signed > 0 ? `${signed}/${entries}` : '-',
    row.certificate?.sha256.slice(0, 8) ?? '-',
    row.waited === null ? waitedSoFar : durationText(row.waited),
    row.outcome,
  ];
}

/** The line below a row, if it needs one. */
function remarkOf(row: AuditRow): string | null {
  const [problem] = row.problems;
  if (problem) return `${problem.code}: ${printable(problem.message, 400)}`;
  if (row.reason) return `${printable(row.reason.code, 100)}: ${printable(row.reason.message, 400)}`;
  return row.waitingFor === null ? null : `waits: ${printable(row.waitingFor, 200)}`;
}

/** The rows as a table, with refusals and problems on a line below their row. Keeps only the texts of a row. */
export class AuditTable {
  private readonly table = new TextTable(COLUMNS);
  private readonly outcomes: { readonly outcome: RowOutcome; readonly remark: string | null }[] = [];

  constructor(private readonly options: TableOptions) {}

  get isEmpty(): boolean {
    return this.table.isEmpty;
  }

  add(row: AuditRow): void {
    this.table.add(cellsOf(row, this.options));
    this.outcomes.push({ outcome: row.outcome, remark: remarkOf(row) });
  }

  /** The text in chunks, since a long history makes a long text. */
  *text(): Generator<string> {
    const { width } = this.options;
    const paint = painter(this.options);
    const { head, lines } = this.table.fitted(width);
    yield paint(head, 'dim');
    let at = 0;
    for (const line of lines) {
      const shown = this.outcomes[at++];
      if (!shown) continue;
      const { outcome, remark } = shown;
      yield `\n${line.slice(0, line.lastIndexOf(outcome))}${paint(outcome, outcome)}`;
      if (remark !== null) yield `\n  ${paint(fit(remark, width - 2, false), outcome)}`;
    }
  }
}

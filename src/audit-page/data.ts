/** What the page was given to show: the JSON in it, which `auditDocument` wrote. */
import type { Audit, AuditRow } from '../app/auditor/model.ts';
import type { Revocation } from '../app/auditor/revocation.ts';
import { byId } from './dom.ts';
import { searchText } from './row-text.ts';
import { timeOf } from './times.ts';

/** Times are ISO 8601. */
interface AuditDocument {
  readonly repository: string;
  readonly auditedAt: string;
  readonly holds: boolean;
  readonly verifiedCommits: number;
  readonly heads: Audit['heads'];
  readonly receiptsBy: Audit['receiptsBy'];
  readonly hold: HoldNote | null;
  readonly problems: Audit['problems'];
  /** Rows there are; `rows` may be fewer. */
  readonly total: number;
  readonly rows: readonly AuditRow[];
  readonly revocation?: Revocation;
}

export interface HoldNote {
  readonly by: string | null;
  readonly since: string | null;
  readonly reason: string;
}

export const data = JSON.parse(byId('data').textContent ?? '') as AuditDocument;

/** When the audit was made, which is what the page goes by. */
export const NOW = timeOf(data.auditedAt);

/** When a row was asked for; of a commit that cannot be read, when it was answered. */
export const askedAt = (row: AuditRow): number => timeOf(row.requestedAt ?? row.answeredAt ?? data.auditedAt);

/** A row with what is asked of it again and again. */
export interface Item {
  readonly row: AuditRow;
  readonly index: number;
  /** When it was answered; when it was asked for, while there is no answer. */
  readonly when: number;
  /** Everything that can be searched, in lower case. */
  readonly text: string;
}

export const items: readonly Item[] = data.rows.map((row, index) => ({
  row,
  index,
  when: timeOf(row.answeredAt ?? row.requestedAt ?? data.auditedAt),
  text: searchText(row),
}));

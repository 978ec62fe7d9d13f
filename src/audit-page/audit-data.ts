/** The data of the page: the JSON that `auditDocument` wrote into it. */
import type { Audit, AuditRow, AuditedIdentity, PageState, Revocation } from '../app/auditor/model.ts';
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
  /** Who signed what the rows describe. */
  readonly identities: readonly AuditedIdentity[];
  /** The number of rows of the audit; `rows` may be filtered. */
  readonly total: number;
  readonly rows: readonly AuditRow[];
  readonly revocation?: Revocation;
  readonly page: PageState;
}

export interface HoldNote {
  readonly by: string | null;
  readonly since: string | null;
  readonly reason: string;
}

export const data = JSON.parse(byId('data').textContent ?? '') as AuditDocument;

/** The time of the audit, which is the present time for the table; what changes while the page is open uses the clock. */
export const NOW = timeOf(data.auditedAt);

/** The time of the request; of the answer if the request cannot be read. */
export const askedAt = (row: AuditRow): number => timeOf(row.requestedAt ?? row.answeredAt ?? data.auditedAt);

/** A row with values that are needed often. */
export interface AuditItem {
  readonly row: AuditRow;
  readonly index: number;
  /** The time of the answer; of the request if there is no answer. */
  readonly when: number;
  /** All searchable text, in lower case. */
  readonly text: string;
}

export const items: readonly AuditItem[] = data.rows.map((row, index) => ({
  row,
  index,
  when: timeOf(row.answeredAt ?? row.requestedAt ?? data.auditedAt),
  text: searchText(row),
}));

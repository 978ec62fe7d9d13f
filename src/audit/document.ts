import { VERSION } from '../version.ts';
import type { Audit, AuditRow } from './model.ts';
import type { Revocation } from './revocation.ts';

/** Beside the audit itself, what its readers have to know. */
export interface DocumentOptions {
  readonly repository: string;
  readonly at: Date;
  readonly rows: readonly AuditRow[];
  readonly revocation: Revocation | null;
}

/**
 * What `signpipe audit --json` prints, version 1. Texts of the repository are as they are there, hostile ones too.
 * `holds` is whether every signature and link was proved; nothing else in it should be believed unless it is true.
 */
export function auditDocument(audit: Audit, options: DocumentOptions): object {
  const { problems, heads, receiptsBy, hold, verified } = audit;
  const { repository, at, rows, revocation } = options;
  return {
    version: 1,
    signpipe: VERSION,
    repository,
    auditedAt: at.toISOString(),
    holds: problems.length === 0,
    verifiedCommits: verified,
    heads,
    receiptsBy,
    hold: hold?.held ? { ...hold, since: hold.since?.toISOString() ?? null } : null,
    problems,
    total: audit.rows.length,
    rows,
    ...(revocation ? { revocation } : {}),
  };
}

/** Whatever a terminal, a page or a careless program could take for something else: beyond ASCII, and markup. */
const SPECIAL = /[<>&'\u007f-\uffff]/g;

/**
 * JSON in printable ASCII that can stand in a page's script element too: no markup, no line separators, no control
 * or formatting characters. Any JSON reader gives back the same texts.
 */
export const safeJson = (value: unknown, indent?: number): string =>
  JSON.stringify(value, null, indent).replace(
    SPECIAL,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );

import { VERSION } from '../../lib/version.ts';
import { identitiesOf } from './identities.ts';
import type { Audit, AuditRow, PageState, Revocation } from './model.ts';

/** What a report says besides the audit itself. */
export interface DocumentOptions {
  readonly repository: string;
  readonly at: Date;
  readonly rows: Iterable<AuditRow>;
  readonly revocation: Revocation | null;
  /** What only a page shows. */
  readonly page?: PageState;
}

/**
 * What `signpipe audit --json` prints, version 1. Texts of the repository are unchanged, hostile ones too. `holds` is
 * whether every signature and link was proved; unless it is true, nothing else in the report should be trusted.
 */
export function auditDocument(
  audit: Audit,
  options: DocumentOptions,
  identities = identitiesOf(options.rows),
): object {
  const { problems, heads, receiptsBy, hold, verified } = audit;
  const { repository, at, rows, revocation, page } = options;
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
    identities,
    total: audit.rows.length,
    rows: [...rows],
    ...(revocation ? { revocation } : {}),
    ...(page ? { page } : {}),
  };
}

/** The layout of the document: the indentation in spaces, and a function that each value passes through first. */
interface DocumentForm {
  readonly indent: 0 | 2;
  readonly shown?: (value: unknown) => unknown;
}

/** The document as `safeJson` writes it, in chunks, row by row: a long history makes a long text. */
export function* documentText(
  audit: Audit,
  options: DocumentOptions,
  { indent, shown = (same) => same }: DocumentForm,
): Generator<string> {
  const json = (value: unknown): string => safeJson(shown(value), indent);
  const [open, lineStart, lastLine] = indent === 0 ? ['"rows":[', '', ''] : ['"rows": [', '\n    ', '\n  '];
  // It cannot occur in a text, where quotes are escaped.
  const [before = '', after = ''] = json(
    auditDocument(audit, { ...options, rows: [] }, identitiesOf(options.rows)),
  ).split(`${open}]`);
  yield before + open;
  let count = 0;
  for (const row of options.rows)
    yield (count++ > 0 ? ',' : '') + lineStart + json(row).replaceAll('\n', lineStart);
  yield `${count > 0 ? lastLine : ''}]`;
  yield after;
}

/** What a terminal, a page or a careless program could misread: markup, and everything beyond ASCII. */
const SPECIAL = /[<>&'\u007f-\uffff]/g;

/**
 * JSON in printable ASCII, also fit for a page's script element: no markup, line separators, control or formatting
 * characters. Every JSON reader returns the original texts.
 */
export const safeJson = (value: unknown, indent?: number): string =>
  JSON.stringify(value, null, indent).replace(
    SPECIAL,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );

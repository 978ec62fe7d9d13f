import { VERSION } from '../../lib/version.ts';
import type { Audit, AuditRow } from './model.ts';
import type { Revocation } from './revocation.ts';

/** Beside the audit itself, what its readers have to know. */
export interface DocumentOptions {
  readonly repository: string;
  readonly at: Date;
  readonly rows: Iterable<AuditRow>;
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
    rows: [...rows],
    ...(revocation ? { revocation } : {}),
  };
}

/** How the document is written: 2 spaces an indent or none at all, and each value through `shown` before. */
export interface DocumentForm {
  readonly indent: 0 | 2;
  readonly shown?: (value: unknown) => unknown;
}

/** The document as `safeJson` writes it, in pieces: row by row, for a long history makes a long text. */
export function* documentText(
  audit: Audit,
  options: DocumentOptions,
  { indent, shown = (same) => same }: DocumentForm,
): Generator<string> {
  const json = (value: unknown): string => safeJson(shown(value), indent);
  const [open, lineStart, lastLine] = indent === 0 ? ['"rows":[', '', ''] : ['"rows": [', '\n    ', '\n  '];
  // It cannot stand in a text, whose quotes are escaped.
  const [before = '', after = ''] = json(auditDocument(audit, { ...options, rows: [] })).split(`${open}]`);
  yield before + open;
  let count = 0;
  for (const row of options.rows)
    yield (count++ > 0 ? ',' : '') + lineStart + json(row).replaceAll('\n', lineStart);
  yield `${count > 0 ? lastLine : ''}]`;
  yield after;
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

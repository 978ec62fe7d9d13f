import { documentText } from '../../app/auditor/json-report.ts';
import { filterRows, rowFilter } from '../../app/auditor/filter.ts';
import type { TableOptions } from '../../app/auditor/text-table.ts';
import type {
  Audit,
  AuditRow,
  PageState,
  SignersHealth,
  Revocation,
  RowOutcome,
} from '../../app/auditor/model.ts';
import { auditPage, WRITTEN_ONCE } from '../../app/auditor/page.ts';
import { NO_HEALTH, readSignersHealth } from '../../app/auditor/signers-health.ts';
import { readAudit } from '../../app/auditor/audit-repository.ts';
import { judgeRevocation } from '../../app/auditor/revocation.ts';
import { revocationText } from '../../app/auditor/revocation-text.ts';
import { Summary } from '../../app/auditor/summary.ts';
import { AuditTable } from '../../app/auditor/table.ts';
import { parseMoment } from '../parse-moment.ts';
import { wantsColour } from '../../lib/terminal-colors.ts';
import { usage } from '../../lib/errors.ts';
import { loggerFor } from '../output/logger.ts';
import { auditedBy, type Audited, type AuditedOptions } from './audited.ts';
import { writeTextAtomically } from '../../lib/bytes/atomic-file.ts';
import { progressFor } from '../output/progress-bars.ts';
import { outputTo, writeOutputFile, type OutputFile } from '../output/output-file.ts';
import { writeToStandardOutput } from '../output/write-output.ts';
import { sayUnlessQuiet } from '../output/terminal.ts';

interface AuditCommandOptions extends AuditedOptions {
  readonly after?: string;
  readonly html?: string;
  readonly every?: number;
  readonly since?: string;
  readonly name?: string;
  readonly outcome?: RowOutcome;
  readonly revokedAt?: string;
  readonly certificate?: string;
  readonly json?: boolean;
}

/** Fewer than four digits are more likely a mistake. */
const CERTIFICATE_PREFIX = /^[0-9a-f]{4,64}$/;

interface RevocationQuestion {
  /** SHA-256 in hex, or its first digits. */
  readonly certificate: string;
  readonly at: Date;
}

/** The question that `--revoked-at` and `--certificate` ask together. */
function parseQuestion(
  { revokedAt, certificate }: AuditCommandOptions,
  now: Date,
): RevocationQuestion | null {
  if (revokedAt === undefined && certificate === undefined) return null;
  if (revokedAt === undefined || certificate === undefined)
    throw usage('revocation-half', '--revoked-at and --certificate belong together', {
      hint: 'every receipt has the SHA-256 of its certificate, and so has the table at the end of the audit',
    });
  const digest = certificate.replaceAll(':', '').toLowerCase();
  if (!CERTIFICATE_PREFIX.test(digest))
    throw usage(
      'certificate-digest',
      `--certificate ${certificate}: is not a SHA-256, nor the first digits of one`,
      {
        hint: 'give four to 64 hexadecimal digits, with or without colons, as in the column CERT of the table',
      },
    );
  return { certificate: digest, at: parseMoment(revokedAt, '--revoked-at', now) };
}

interface AuditResult {
  readonly audit: Audit;
  /** Read for a page only. */
  readonly health: SignersHealth;
}

async function runAudit(audited: Audited, options: AuditCommandOptions, now: Date): Promise<AuditResult> {
  const signers = await audited.loadSigners();
  return audited.open(async ({ repository, refresh, refreshHeartbeats }) => {
    const { after, html } = options;
    if (html !== undefined) await refreshHeartbeats();
    await refresh();
    const progress = await progressFor(options);
    const bar = progress.start('receipts', 'files');
    try {
      const audit = await readAudit(repository, {
        ...signers,
        ...(after === undefined ? {} : { after: await repository.resolveCommit(after) }),
        now,
        bar,
      });
      const health =
        html === undefined ? NO_HEALTH : await readSignersHealth(repository, signers, audit, now);
      return { audit, health };
    } finally {
      bar.stop();
    }
  });
}

function tableOptions(now: Date): TableOptions {
  const { stdout, env } = process;
  const width = stdout.columns ?? Number(env['COLUMNS'] ?? 0);
  return {
    width: Math.max(80, width || 120),
    colour: wantsColour(stdout),
    now,
  };
}

/** Table, revocation and summary, in chunks. Reads the rows only once: a long history makes each pass expensive. */
function* auditText(
  audit: Audit,
  isShown: (row: AuditRow) => boolean,
  revocation: Revocation | null,
  options: AuditCommandOptions,
  now: Date,
): Generator<string> {
  const how = tableOptions(now);
  const [table, summary] = [new AuditTable(how), new Summary()];
  const hasTable = !options.quiet && options.html === undefined && !revocation;
  for (const row of audit.rows) {
    const shown = isShown(row);
    summary.add(row, shown);
    if (shown && hasTable) table.add(row);
  }
  if (!table.isEmpty) {
    yield* table.text();
    yield '\n\n';
  }
  if (revocation) yield `${revocationText(revocation, how)}\n\n`;
  yield summary.text(audit, how);
}

/** `signpipe audit --html OUT --every TIME`. The filters are those of the command line, their times counted from each writing. */
async function keepPageOf(options: AuditCommandOptions, every: number): Promise<number> {
  const { html, revokedAt, certificate, after } = options;
  if (html === undefined || revokedAt !== undefined || certificate !== undefined)
    throw usage('every-needs-page', '--every keeps a page up to date, without the question of a revocation', {
      hint: 'give --html OUT, and neither --revoked-at nor --certificate',
    });
  const audited = await auditedBy(options);
  const output = await outputTo(html, true);
  const { keepPage } = await import('./audit-every.ts');
  return audited.open((open) =>
    keepPage({
      open,
      ...(after === undefined ? {} : { after }),
      loadSigners: audited.loadSigners,
      write: (audit, at, page) => writePage(output, audit, { options, name: audited.name, at, page }),
      every,
      name: output.name,
      log: loggerFor(options),
    }),
  );
}

interface KeptPage {
  readonly options: AuditCommandOptions;
  readonly name: string;
  readonly at: Date;
  readonly page: PageState;
}

async function writePage(output: OutputFile, audit: Audit, kept: KeptPage): Promise<void> {
  const { at, page } = kept;
  const { name, outcome } = kept.options;
  const since = kept.options.since === undefined ? undefined : parseMoment(kept.options.since, '--since', at);
  const rows = filterRows(audit.rows, rowFilter({ since, name, outcome }));
  const pieces = await auditPage(audit, { repository: kept.name, at, rows, revocation: null, page });
  await writeOutputFile(output, (path) => writeTextAtomically(path, pieces));
}

/**
 * `signpipe audit`: verifies the whole repository; the exit status is 3 if a signature or a link is wrong. Options may
 * filter what is shown, never what is verified.
 */
export async function auditCommand(options: AuditCommandOptions): Promise<number> {
  if (options.every !== undefined) return keepPageOf(options, options.every);
  const now = new Date();
  const question = parseQuestion(options, now);
  const since = options.since === undefined ? undefined : parseMoment(options.since, '--since', now);
  // An existing page is replaced: it is one of an earlier audit.
  const html = options.html === undefined ? null : await outputTo(options.html, true);
  const audited = await auditedBy(options);
  const { audit, health } = await runAudit(audited, options, now);
  const isShown = rowFilter({ since, name: options.name, outcome: options.outcome });
  const revocation = question && judgeRevocation(audit.rows, question);
  const rows = filterRows(audit.rows, isShown);
  const document = { repository: audited.name, at: now, rows, revocation };
  if (html) {
    const page = await auditPage(audit, { ...document, page: { ...WRITTEN_ONCE, health } });
    await writeOutputFile(html, (path) => writeTextAtomically(path, page));
    sayUnlessQuiet(options)(`${html.name}: one page, to open in a browser; it needs no network`);
  }
  await writeToStandardOutput(
    options.json
      ? documentText(audit, document, { indent: 2 })
      : auditText(audit, isShown, revocation, options, now),
  );
  return audit.problems.length > 0 ? 3 : 0;
}

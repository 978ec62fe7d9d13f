import { documentText } from '../../app/auditor/json-report.ts';
import { filterRows, rowFilter } from '../../app/auditor/filter.ts';
import type { TableOptions } from '../../app/auditor/text-table.ts';
import type { Audit, AuditRow, RowOutcome, Revocation } from '../../app/auditor/model.ts';
import { auditPage } from '../../app/auditor/page.ts';
import { readAudit } from '../../app/auditor/audit-repository.ts';
import { judgeRevocation } from '../../app/auditor/revocation.ts';
import { revocationText } from '../../app/auditor/revocation-text.ts';
import { Summary } from '../../app/auditor/summary.ts';
import { AuditTable } from '../../app/auditor/table.ts';
import { parseMoment } from '../parse-moment.ts';
import { wantsColour } from '../../lib/terminal-colors.ts';
import { AllowedSigners } from '../../lib/sshsig/allowed-signers.ts';
import { usage } from '../../lib/errors.ts';
import { withRepository } from '../../protocol/control/with-repository.ts';
import { writeTextAtomically } from '../../lib/bytes/atomic-file.ts';
import { progressFor } from '../output/progress-bars.ts';
import { outputTo, writeOutputFile } from '../output/output-file.ts';
import { writeToStandardOutput } from '../output/write-output.ts';
import { sayUnlessQuiet, type CommonOptions } from '../output/terminal.ts';

interface AuditCommandOptions extends CommonOptions {
  readonly repo: string;
  readonly allowedSigners?: string;
  readonly receiptSigners?: string;
  readonly requests: string;
  readonly receipts: string;
  readonly after?: string;
  readonly html?: string;
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

interface Signers {
  readonly allowed: AllowedSigners;
  readonly receiptSigners?: AllowedSigners;
}

/**
 * Loads the lists of keys whose signatures count. Without a list the audit is refused: only the repository itself
 * could then say whom to trust, and the table would look like a proof.
 */
async function loadSigners({ allowedSigners, receiptSigners }: AuditCommandOptions): Promise<Signers> {
  if (allowedSigners === undefined)
    throw usage('audit-signers-missing', 'whose signatures count? The repository itself cannot decide that', {
      hint: 'give --allowed-signers FILE, OpenSSH’s format: builders, vouchers and the signer’s receipt key, past ones with valid-before',
    });
  const allowed = await AllowedSigners.load(allowedSigners);
  if (receiptSigners === undefined) return { allowed };
  return { allowed, receiptSigners: await AllowedSigners.load(receiptSigners) };
}

async function runAudit(options: AuditCommandOptions, now: Date): Promise<Audit> {
  const signers = await loadSigners(options);
  return withRepository(options.repo, options, async (repository) => {
    const { after } = options;
    const progress = await progressFor(options);
    const bar = progress.start('receipts', 'files');
    try {
      return await readAudit(repository, {
        ...signers,
        ...(after === undefined ? {} : { after: await repository.resolveCommit(after) }),
        now,
        bar,
      });
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

/**
 * `signpipe audit`: verifies the whole repository; the exit status is 3 if a signature or a link is wrong. Options may
 * filter what is shown, never what is verified.
 */
export async function auditCommand(options: AuditCommandOptions): Promise<number> {
  const now = new Date();
  const question = parseQuestion(options, now);
  const since = options.since === undefined ? undefined : parseMoment(options.since, '--since', now);
  // An existing page is replaced: it is one of an earlier audit.
  const html = options.html === undefined ? null : await outputTo(options.html, true);
  const audit = await runAudit(options, now);
  const isShown = rowFilter({ since, name: options.name, outcome: options.outcome });
  const revocation = question && judgeRevocation(audit.rows, question);
  const rows = filterRows(audit.rows, isShown);
  const document = { repository: options.repo, at: now, rows, revocation };
  if (html) {
    const page = await auditPage(audit, document);
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

import { loadAuditorConfig } from '../../app/config/auditor.ts';
import { withAuditedRepository } from '../../app/auditor/open-repository.ts';
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
import type { ControlRepository } from '../../protocol/control/repository.ts';
import { withRepository } from '../../protocol/control/with-repository.ts';
import { writeTextAtomically } from '../../lib/bytes/atomic-file.ts';
import { progressFor } from '../output/progress-bars.ts';
import { outputTo, writeOutputFile } from '../output/output-file.ts';
import { writeToStandardOutput } from '../output/write-output.ts';
import { sayUnlessQuiet, type CommonOptions } from '../output/terminal.ts';

interface AuditCommandOptions extends CommonOptions {
  readonly config?: string;
  readonly repo?: string;
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

/** What is audited: how to open it, and the files that list whose signatures count. */
interface Audited {
  /** The folder or URL, for the report. */
  readonly name: string;
  readonly allowedSigners: string;
  readonly receiptSigners?: string | undefined;
  readonly open: <T>(use: (repository: ControlRepository) => Promise<T>) => Promise<T>;
}

/** The control repository of a configuration, or that of the command line. */
async function auditedBy(options: AuditCommandOptions): Promise<Audited> {
  const { repo, allowedSigners, receiptSigners } = options;
  if (options.config === undefined) {
    const name = repo ?? '.';
    if (allowedSigners === undefined) throw signersMissing();
    return { name, allowedSigners, receiptSigners, open: (use) => withRepository(name, options, use) };
  }
  if (repo !== undefined || allowedSigners !== undefined || receiptSigners !== undefined)
    throw usage('audit-twice', '--config names the repository and the lists of keys already', {
      hint: 'give either --config, or --repo with --allowed-signers',
    });
  const config = await loadAuditorConfig(options.config);
  const say = sayUnlessQuiet(options);
  return {
    name: config.control.url,
    ...config.trust,
    open: (use) => withAuditedRepository(config, say, use),
  };
}

/**
 * Without a list the audit is refused: only the repository itself could then say whom to trust, and the table would look
 * like a proof.
 */
const signersMissing = () =>
  usage('audit-signers-missing', 'whose signatures count? The repository itself cannot decide that', {
    hint: 'give --allowed-signers FILE, OpenSSH’s format: builders, vouchers and the signer’s receipt key, past ones with valid-before; or --config, with the auditor.yaml that "signpipe init auditor" makes',
  });

/** Loads the lists of keys whose signatures count. */
async function loadSigners({ allowedSigners, receiptSigners }: Audited): Promise<Signers> {
  const allowed = await AllowedSigners.load(allowedSigners);
  if (receiptSigners === undefined) return { allowed };
  return { allowed, receiptSigners: await AllowedSigners.load(receiptSigners) };
}

async function runAudit(audited: Audited, options: AuditCommandOptions, now: Date): Promise<Audit> {
  const signers = await loadSigners(audited);
  return audited.open(async (repository) => {
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
  const audited = await auditedBy(options);
  const audit = await runAudit(audited, options, now);
  const isShown = rowFilter({ since, name: options.name, outcome: options.outcome });
  const revocation = question && judgeRevocation(audit.rows, question);
  const rows = filterRows(audit.rows, isShown);
  const document = { repository: audited.name, at: now, rows, revocation };
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

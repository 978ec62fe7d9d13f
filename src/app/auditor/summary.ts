import { shortId } from '../../lib/git/objects.ts';
import { printable } from '../../lib/printable.ts';
import { painter, type TableOptions } from './text-table.ts';
import { SignerIdentities } from './identities.ts';
import {
  OUTCOMES,
  type Audit,
  type AuditedCertificate,
  type AuditedIdentity,
  type AuditRow,
  type Problem,
  type RowOutcome,
} from './model.ts';
import { plural } from '../../lib/plural.ts';
import { minute } from './format.ts';
import { isoDay } from '../../lib/iso-day.ts';

/** Problems that are listed; the others are only counted. */
const PROBLEM_LIMIT = 40;

/** Certificates that are listed for an identity, the newest; a service may use another one each day. */
const CERTIFICATE_LIMIT = 10;

/** The summary of an audit: owner, counts, certificates and problems. Keeps no rows. */
export class Summary {
  private readonly outcomes = new Map<RowOutcome, number>();
  private readonly identities = new SignerIdentities();
  private answers = 0;
  private repeats = 0;
  private hidden = 0;
  private isClaim = false;

  /** `shown` is whether the row passes the filter. */
  add(row: AuditRow, shown: boolean): void {
    this.outcomes.set(row.outcome, (this.outcomes.get(row.outcome) ?? 0) + 1);
    if (row.receipt !== null) this.answers += 1;
    if (row.repeats) this.repeats += 1;
    if (!shown) {
      this.hidden += 1;
      return;
    }
    if (row.askedBy === null) this.isClaim = true;
    this.identities.add(row);
  }

  text(audit: Audit, options: TableOptions): string {
    const paint = painter(options);
    const { receiptsBy, heads, hold, problems } = audit;
    return [
      this.counts(audit.rows.length),
      receiptsBy === null
        ? 'receipts     by an unknown key'
        : `receipts     by ${printable(receiptsBy.principal, 100)}, ${receiptsBy.key}`,
      `branches     requests ${heads.requests === null ? 'none' : shortId(heads.requests)}, receipts ${heads.receipts === null ? 'none' : shortId(heads.receipts)}`,
      ...this.identities.list().flatMap(identityLines),
      ...(this.repeats > 0
        ? [
            `repeated     ${plural(this.repeats, 'request')} answered before under another commit id: find out who made them`,
          ]
        : []),
      ...(this.isClaim
        ? ['( )          the requester is only claimed by the commit; no signature proves it']
        : []),
      ...(hold?.held ? [paint(`HOLD         ${holdText(hold)}`, 'failed')] : []),
      '',
      ...(problems.length > 0
        ? problemLines(problems, options)
        : [
            paint(
              `${plural(audit.verified, 'commit')} verified: every signature and every link holds`,
              'good',
            ),
          ]),
    ].join('\n');
  }

  /** The number of rows for each outcome that occurs. */
  private counts(total: number): string {
    const { outcomes, answers, hidden } = this;
    const tally = OUTCOMES.filter((outcome) => outcomes.has(outcome)).map(
      (outcome) => `${outcomes.get(outcome) ?? 0} ${outcome}`,
    );
    return `${plural(total - answers, 'request')} waiting, ${plural(answers, 'answer')}: ${tally.join(', ') || 'none'}${hidden > 0 ? `; ${hidden} not shown` : ''}`;
  }
}

const certificateLine = ({ sha256, subject, test, notAfter, programs }: AuditedCertificate): string =>
  `certificate  ${sha256.slice(0, 8)}  ${printable(subject, 200)}${test ? ' (TEST)' : ''}${notAfter === null ? '' : `, until ${isoDay(notAfter)}`}: ${plural(programs, 'program')}`;

/** An identity, and below it its certificates. */
function identityLines({ identity, programs, certificates }: AuditedIdentity): string[] {
  const more = certificates.length - CERTIFICATE_LIMIT;
  return [
    `identity     ${printable('eku' in identity ? identity.eku : identity.subject, 200)}: ${plural(programs, 'program')}`,
    ...('eku' in identity ? [] : [`issued by    ${printable(identity.issuer, 200)}`]),
    ...certificates.slice(-CERTIFICATE_LIMIT).map(certificateLine),
    ...(more > 0 ? [`             and ${plural(more, 'earlier certificate')}, which --json lists`] : []),
  ];
}

function problemLines(problems: readonly Problem[], options: TableOptions): string[] {
  const paint = painter(options);
  const problemLines = problems
    .slice(0, PROBLEM_LIMIT)
    .flatMap(({ code, commit, message }) => [
      `  ${paint(code, 'rejected')} at ${commit}`,
      `    ${printable(message, 2000)}`,
    ]);
  const more = problems.length - PROBLEM_LIMIT;
  return [
    paint(` ${plural(problems.length, 'PROBLEM').toUpperCase()}: this history does not hold `, 'unproven'),
    ...problemLines,
    ...(more > 0 ? [`  and ${more} more, which --json lists`] : []),
  ];
}

function holdText({ by, since, reason }: NonNullable<Audit['hold']>): string {
  const [line = ''] = reason.split('\n');
  return `no signing since ${since === null ? '?' : minute(since.toISOString())}, by ${printable(by ?? 'an unknown author', 100)}${line === '' ? '' : `: ${printable(line, 200)}`}`;
}

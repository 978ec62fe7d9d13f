/** The head of the page: the verdict, and facts about the audit. */
import type { AuditedIdentity, Problem } from '../app/auditor/model.ts';
import { data } from './audit-data.ts';
import { byId, el, type Child } from './dom.ts';
import { code, fingerprint, hash, warning } from './components.ts';
import { checkMark, outcomeIcon } from './outcome-icons.ts';
import { decimal, identityName, plural, second } from './format.ts';

/** Problems that are listed; the others are only counted. */
const PROBLEM_LIMIT = 200;
/** Certificates that are listed for an identity, the newest. */
const CERTIFICATE_LIMIT = 10;

export function drawVerdict(): void {
  const { holds, problems, verifiedCommits } = data;
  const verdict = byId('verdict');
  verdict.classList.add(holds ? 'holds' : 'broken');
  verdict.append(
    holds ? checkMark() : outcomeIcon('unproven'),
    holds
      ? `Every signature and every link holds (${plural(verifiedCommits, 'commit')} verified).`
      : `This history does not hold: ${plural(problems.length, 'problem')}. Nothing below is proven until that is explained.`,
  );
  if (!holds) verdict.after(el('section', { 'aria-label': 'Problems' }, problemList(problems)));
}

function problemList(problems: readonly Problem[]): HTMLElement {
  const listItems = problems
    .slice(0, PROBLEM_LIMIT)
    .map(({ code: what, commit, message }) =>
      el('li', {}, code(what), ' at ', hash(commit), el('p', {}, message)),
    );
  const more = problems.length - PROBLEM_LIMIT;
  return el('ol', { class: 'problems' }, ...listItems, more > 0 && el('li', {}, `and ${more} more`));
}

const fact = (name: string, ...content: readonly Child[]): void =>
  byId('facts').append(el('div', {}, el('dt', {}, name), el('dd', {}, ...content)));

const branchTip = (commit: string | null): Child => (commit ? hash(commit, true) : 'none');

export function drawFacts(): void {
  const { repository, receiptsBy, heads, auditedAt, identities, rows, total } = data;
  byId('repository').textContent = repository;
  fact('Audited', second(auditedAt));
  if (receiptsBy) fact('Receipts by', receiptsBy.principal, ' ', fingerprint(receiptsBy.key));
  fact('Branches', 'requests ', branchTip(heads.requests), ', receipts ', branchTip(heads.receipts));
  for (const each of identities) fact('Signed by', ...identityContent(each));
  if (rows.length < total) fact('Shown', `${decimal(rows.length)} of ${plural(total, 'row')}, as filtered`);
}

/** An identity as it is named in reports, and below it its newest certificates. */
function identityContent({ identity, programs, certificates }: AuditedIdentity): Child[] {
  const name = identityName(identity);
  const more = certificates.length - CERTIFICATE_LIMIT;
  return [
    `${name}: ${plural(programs, 'program')}`,
    el(
      'ul',
      { class: 'certificates' },
      ...certificates
        .slice(-CERTIFICATE_LIMIT)
        .map(({ sha256, notAfter, test, programs: signed }) =>
          el(
            'li',
            {},
            hash(sha256, true),
            notAfter === null ? '' : `, until ${notAfter.slice(0, 10)}`,
            `: ${plural(signed, 'program')}`,
            test && warning('TEST'),
          ),
        ),
      more > 0 && el('li', {}, `and ${plural(more, 'earlier certificate')}`),
    ),
  ];
}

/** The details of a row: request, answer, certificate, files, vouches. */
import type { AuditRow } from '../app/auditor/model.ts';
import { COLUMNS } from './columns.ts';
import { el, type Child } from './dom.ts';
import { attachmentLine, filePart } from './file-details.ts';
import { code, fingerprint, hash, warning } from './components.ts';
import { badge } from './outcome-icons.ts';
import { capitalised, second } from './format.ts';

/** The details as a row of the table. */
export function detailLine(row: AuditRow, id: string): HTMLElement {
  const detail = el(
    'td',
    { colspan: String(COLUMNS.length), role: 'cell' },
    problemPart(row),
    el('div', { class: 'parts' }, requestPart(row), answerPart(row), certificatePart(row)),
    ...row.files.map(filePart),
    commonPart(row),
    vouchPart(row),
  );
  return el('tr', { class: `detail ${row.outcome}`, role: 'row', id }, detail);
}

/** A name and its value; null if there is nothing to show. */
type Pair = readonly [name: string, ...content: Child[]] | null;

/** A heading with names and values. */
function part(title: string, pairs: readonly Pair[]): HTMLElement {
  const list = el('dl');
  for (const pair of pairs) {
    if (!pair) continue;
    const [name, ...content] = pair;
    list.append(el('dt', {}, name), el('dd', {}, ...content));
  }
  return el('section', { class: 'part' }, el('h3', {}, title), list);
}

function problemPart({ problems, claimed }: AuditRow): HTMLElement | null {
  if (problems.length === 0) return null;
  const list = problems.map(({ code: what, message }) => el('li', {}, code(what), ' ', message));
  const claim = claimed ? ` It claims: ${claimed}.` : '';
  return el(
    'div',
    { class: 'alarm' },
    el('strong', {}, `This answer does not hold.${claim}`),
    el('ul', {}, ...list),
  );
}

const requestPart = (row: AuditRow): HTMLElement =>
  part('Request', [
    ['Commit', hash(row.request)],
    row.askedBy
      ? ['Signed by', row.askedBy.principal, ' ', fingerprint(row.askedBy.key)]
      : ['Signed by', 'no allowed signer'],
    ['Author', row.author || '–'],
    ['Message', row.subject || '–'],
    row.requestedAt === null ? null : ['Committed', second(row.requestedAt)],
    row.sourceRevision === null ? null : ['Source revision', row.sourceRevision],
    ['Channel', row.channel],
  ]);

function answerPart(row: AuditRow): HTMLElement | null {
  const { receipt, reason, repeats, waitingFor, signpipe } = row;
  if (receipt === null) return waitingFor === null ? null : part('Waiting', [['For', waitingFor]]);
  return part('Receipt', [
    ['Commit', hash(receipt)],
    ['Outcome', badge(row.outcome)],
    reason ? ['Reason', code(reason.code), ' ', reason.message] : null,
    reason?.hint === undefined ? null : ['Hint', reason.hint],
    repeats ? ['Repeats', 'request ', hash(repeats.request)] : null,
    repeats?.receipt === undefined ? null : ['Answered by', 'receipt ', hash(repeats.receipt)],
    ...timePairs(row),
    signpipe === null ? null : ['Written by', `signpipe ${signpipe}`],
  ]);
}

const STAGES = ['seen', 'fetched', 'signed', 'delivered', 'answered'] as const;

/** The time of each stage. */
function timePairs({ times, answeredAt }: AuditRow): Pair[] {
  if (!times) return answeredAt ? [['Committed', second(answeredAt)]] : [];
  return STAGES.map((stage) => {
    const time = times[stage];
    return time ? [capitalised(stage), second(time)] : null;
  });
}

function certificatePart({ certificate, identity, test }: AuditRow): HTMLElement | null {
  if (!certificate) return null;
  const { subject, issuer, serial, sha256, notBefore, notAfter } = certificate;
  return part('Certificate', [
    ['Subject', subject, test && warning('TEST')],
    ['Issuer', issuer],
    identity && 'eku' in identity ? ['Identity', identity.eku] : null,
    ['Serial', fingerprint(serial)],
    ['SHA-256', hash(sha256)],
    ['Valid', `${notBefore.slice(0, 10)} to ${notAfter.slice(0, 10)}`],
  ]);
}

function commonPart({ attachments }: AuditRow): HTMLElement | null {
  if (attachments.length === 0) return null;
  const list = attachments.map(attachmentLine);
  return el(
    'section',
    { class: 'file' },
    el('h3', {}, 'Delivered for all files together'),
    el('ul', {}, ...list),
  );
}

function vouchPart({ vouchedBy }: AuditRow): HTMLElement | null {
  if (vouchedBy.length === 0) return null;
  const list = vouchedBy.map(({ name, signer, key, commit }) =>
    el('li', {}, `${signer}, on vouch/${name} `, hash(commit, true), ' ', fingerprint(key)),
  );
  return el('section', { class: 'file' }, el('h3', {}, 'Vouches for the same bytes'), el('ul', {}, ...list));
}

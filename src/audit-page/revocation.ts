/** Shows what the revocation of a certificate would do, if the audit was asked for it. */
import type { RowOutcome, Revocation, RevokedProgram } from '../app/auditor/model.ts';
import { byId, el } from './dom.ts';
import { hash, innerTable } from './components.ts';
import { outcomeIcon } from './outcome-icons.ts';
import { minute, plural, second } from './format.ts';

export function drawRevocation({ subject, certificate, at, killed, surviving }: Revocation): void {
  const section = el(
    'section',
    { class: 'revocation', 'aria-labelledby': 'revocation-title' },
    el('h2', { id: 'revocation-title' }, 'If the certificate is revoked'),
    el('p', {}, `${subject}, as of ${second(at)}`),
    el('p', {}, hash(certificate)),
    programList(becomeInvalid(killed), killed, 'rejected'),
    programList(`${stayValid(surviving)} by timestamp`, surviving, 'signed'),
  );
  byId('timeline').before(section);
}

const becomeInvalid = ({ length }: readonly RevokedProgram[]): string =>
  `${plural(length, 'signature')} that become${length === 1 ? 's' : ''} invalid`;

const stayValid = ({ length }: readonly RevokedProgram[]): string =>
  `${plural(length, 'signature')} that stay${length === 1 ? 's' : ''} valid`;

const TITLES = ['Stamped (UTC)', 'Program', 'SHA-256', 'Why'];

/** Longer lists are collapsed at first. */
const OPEN_LIMIT = 50;

const programList = (title: string, programs: readonly RevokedProgram[], outcome: RowOutcome): HTMLElement =>
  el(
    'details',
    { open: programs.length < OPEN_LIMIT },
    el('summary', {}, outcomeIcon(outcome), ' ', title),
    programs.length > 0 && innerTable(TITLES, programs.map(programLine)),
  );

const programLine = ({ timestamp, file, path, sha256, why }: RevokedProgram): HTMLTableRowElement =>
  el(
    'tr',
    {},
    el('td', {}, minute(timestamp)),
    el('td', {}, file, path === '' ? '' : ` › ${path}`),
    el('td', {}, hash(sha256, true)),
    el('td', {}, why),
  );

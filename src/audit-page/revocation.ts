/** What the revocation of a certificate would do, where that was asked. */
import type { RowOutcome } from '../app/auditor/model.ts';
import type { Revocation, RevokedProgram } from '../app/auditor/revocation.ts';
import { byId, el } from './dom.ts';
import { hash, innerTable } from './components.ts';
import { sign } from './outcome-icons.ts';
import { minute, plural, second } from './format.ts';

export function drawRevocation({ subject, certificate, at, killed, surviving }: Revocation): void {
  const section = el(
    'section',
    { class: 'revocation', 'aria-labelledby': 'revocation-title' },
    el('h2', { id: 'revocation-title' }, 'If the certificate is revoked'),
    el('p', {}, `${subject}, as of ${second(at)}`),
    el('p', {}, hash(certificate)),
    programList(signatures(killed, 'die'), killed, 'rejected'),
    programList(`${signatures(surviving, 'survive')} by timestamp`, surviving, 'signed'),
  );
  byId('timeline').before(section);
}

const signatures = ({ length }: readonly RevokedProgram[], verb: string): string =>
  `${plural(length, 'signature')} that ${verb}${length === 1 ? 's' : ''}`;

const TITLES = ['Stamped (UTC)', 'Program', 'SHA-256', 'Why'];

/** Longer lists are closed at first. */
const OPEN_LIMIT = 50;

const programList = (title: string, programs: readonly RevokedProgram[], outcome: RowOutcome): HTMLElement =>
  el(
    'details',
    { open: programs.length < OPEN_LIMIT },
    el('summary', {}, sign(outcome), ' ', title),
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

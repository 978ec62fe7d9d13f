/** The details of each file: its digests as sent and as delivered, and the programs in it. */
import type { AuditedEntry, AuditedFile, AuditRow } from '../app/auditor/model.ts';
import { el, type Child } from './dom.ts';
import { hash, innerTable, warning } from './components.ts';
import { minute, plural, size } from './format.ts';

export const filePart = (file: AuditedFile): HTMLElement =>
  el(
    'section',
    { class: 'file' },
    fileTitle(file),
    el(
      'dl',
      {},
      ...digestPair('As sent', file.input.sha256),
      ...digestPair('As delivered', file.output?.sha256),
    ),
    file.signed.length > 0 && innerTable(TITLES, file.signed.map(entryLine)),
    file.kept.length > 0 && keptList(file.kept),
    (file.unsignedInside ?? []).length > 0 && unsignedList(file.unsignedInside ?? []),
    (file.attachments ?? []).length > 0 && attachmentList(file.attachments ?? []),
  );

function fileTitle({ input, output, entries }: AuditedFile): HTMLElement {
  const facts = [
    input.size === undefined ? null : size(input.size),
    entries > 1 ? plural(entries, 'file') : null,
    output ? `delivered: ${size(output.size)}` : null,
  ].filter(Boolean);
  return el('h3', {}, input.name, facts.length > 0 && aside(` ${facts.join(' · ')}`));
}

const aside = (text: string): HTMLElement => el('span', { class: 'aside' }, text);

const digestPair = (name: string, sha256: string | undefined): Child[] =>
  sha256 ? [el('dt', {}, name), el('dd', {}, hash(sha256))] : [];

const TITLES = ['Program', 'Unsigned SHA-256', 'Signed SHA-256', 'Authenticode digest', 'Timestamp (UTC)'];

const entryLine = (entry: AuditedEntry): HTMLTableRowElement => {
  const { path, inside = [], before, after, authenticode, timestamp, proven } = entry;
  return el(
    'tr',
    { class: proven ? null : 'unproven' },
    el('td', {}, [...inside, path].join('!/') || '(the file itself)', !proven && warning('NOT PROVEN')),
    el('td', {}, hash(before.sha256, true)),
    el('td', {}, hash(after.sha256, true)),
    el('td', {}, aside(`${authenticode.algorithm} `), hash(authenticode.digest, true)),
    el('td', { title: timestamp?.authority ?? null }, timestamp ? minute(timestamp.time) : 'none'),
  );
};

export const attachmentLine = ({ name, kind, sha256 }: AuditRow['attachments'][number]): HTMLElement =>
  el('li', {}, name, aside(` ${kind} `), hash(sha256, true));

const attachmentList = (attachments: AuditRow['attachments']): HTMLElement =>
  el(
    'div',
    {},
    el('h4', {}, 'Delivered beside it'),
    el('ul', { class: 'kept' }, ...attachments.map(attachmentLine)),
  );

const keptLine = ({
  path,
  inside = [],
  signer,
  certificate,
  trusted,
}: AuditedFile['kept'][number]): HTMLElement =>
  el(
    'li',
    {},
    [...inside, path].join('!/'),
    ' — ',
    signer,
    ...(certificate === undefined ? [] : [' ', hash(certificate, true)]),
    trusted === false && aside(' not under signing.roots'),
    trusted === true && aside(' under signing.roots'),
  );

const keptList = (kept: AuditedFile['kept']): HTMLElement =>
  el(
    'div',
    {},
    el('h4', {}, 'Signed by others and left unchanged'),
    el('ul', { class: 'kept' }, ...kept.map(keptLine)),
  );

const unsignedList = (unsigned: NonNullable<AuditedFile['unsignedInside']>): HTMLElement =>
  el(
    'div',
    {},
    el('h4', {}, 'Not signed, inside of containers'),
    el(
      'ul',
      { class: 'kept' },
      ...unsigned.map(({ path, inside = [] }) => el('li', {}, [...inside, path].join('!/'))),
    ),
  );

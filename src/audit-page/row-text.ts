/** Short texts about a row, and its searchable text. */
import type { AuditedFile, AuditRow } from '../app/auditor/model.ts';

export const whatOf = (row: AuditRow): string =>
  row.files[0]?.input.name ?? (row.subject || '(nothing that can be read)');

export const askedOf = (row: AuditRow): string => row.askedBy?.principal ?? row.author;

/** The number of signed programs, without those in containers. */
export const signedOf = (row: AuditRow): number =>
  row.files.reduce((sum, { signed }) => {
    const isLone = signed.some(({ path }) => path === '');
    const own = signed.filter(({ path, inside = [] }) => (isLone ? path === '' : inside.length === 0));
    return sum + own.length;
  }, 0);

/** The number of files in what was sent. */
export const entriesOf = (row: AuditRow): number => row.files.reduce((sum, file) => sum + file.entries, 0);

/** Why a row is not simply signed; null if it is. */
export function remarkOf(row: AuditRow): string | null {
  const [problem] = row.problems;
  if (problem) return `${problem.code}: ${problem.message}`;
  if (row.reason) return `${row.reason.code}: ${row.reason.message}`;
  return row.waitingFor === null ? null : `waits: ${row.waitingFor}`;
}

type Words = readonly (string | undefined | null)[];

const attachmentWords = ({ name, sha256 }: AuditRow['attachments'][number]): Words => [name, sha256];

const fileWords = ({ input, output, signed, kept, attachments = [] }: AuditedFile): Words => [
  ...attachments.flatMap(attachmentWords),
  input.name,
  input.sha256,
  output?.name,
  output?.sha256,
  ...signed.flatMap(({ path, before, after }) => [path, before.sha256, after.sha256]),
  ...kept.flatMap(({ path, signer }) => [path, signer]),
];

const answerWords = ({ outcome, reason, repeats, certificate, waitingFor, problems }: AuditRow): Words => [
  outcome,
  reason?.code,
  reason?.message,
  repeats?.request,
  repeats?.receipt,
  certificate?.subject,
  certificate?.sha256,
  waitingFor,
  ...problems.flatMap(({ code, message }) => [code, message]),
];

/** All searchable text of a row, in lower case. */
export function searchText(row: AuditRow): string {
  const { askedBy, vouchedBy } = row;
  const words: Words = [
    row.request,
    row.receipt,
    row.subject,
    row.author,
    askedBy?.principal,
    askedBy?.key,
    row.channel,
    row.sourceRevision,
    ...answerWords(row),
    ...vouchedBy.flatMap(({ name, signer, key, commit }) => [name, signer, key, commit]),
    ...row.files.flatMap(fileWords),
    ...row.attachments.flatMap(attachmentWords),
  ];
  return words.filter(Boolean).join('\n').toLowerCase();
}

import { usage } from '../errors.ts';
import { printable } from '../printable.ts';
import type { AuditRow } from './model.ts';

/** One signature by a certificate, and what a revocation does to it. */
export interface RevokedProgram {
  /** The file that was requested, and the entry in it; empty for a lone program. */
  readonly file: string;
  readonly path: string;
  /** Of the signed program. */
  readonly sha256: string;
  readonly digest: string;
  readonly timestamp: string | null;
  readonly survives: boolean;
  /** Why, in a few words. */
  readonly why: string;
  readonly request: string;
  readonly receipt: string;
}

/** What the revocation of a certificate as of a date does to everything that was signed with it. */
export interface Revocation {
  readonly certificate: string;
  readonly subject: string;
  readonly at: string;
  readonly killed: readonly RevokedProgram[];
  readonly surviving: readonly RevokedProgram[];
}

/**
 * What Windows does with a certificate that is revoked as of `at`: signatures stamped before that stay good; those
 * stamped then or later, and those without a timestamp, do not. Only a timestamp that was found in the signature
 * and verified counts here, whatever the receipt says. Throws `certificate-unknown` when no receipt names it.
 */
export function judgeRevocation(
  rows: readonly AuditRow[],
  { certificate, at }: { certificate: string; at: Date },
): Revocation {
  const signed = rows.filter((row) => row.certificate?.sha256 === certificate);
  const [first] = signed;
  if (!first?.certificate) throw unknownCertificate(rows, certificate);
  const programs = signed.flatMap((row) => programsOf(row, at));
  return {
    certificate,
    subject: first.certificate.subject,
    at: at.toISOString(),
    killed: programs.filter(({ survives }) => !survives),
    surviving: programs.filter(({ survives }) => survives),
  };
}

function programsOf(row: AuditRow, at: Date): RevokedProgram[] {
  return row.files.flatMap(({ input, signed }) =>
    signed.map(({ path, after, authenticode, timestamp, proven }) => {
      const time = timestamp?.time ?? null;
      const survives = proven && time !== null && new Date(time) < at;
      return {
        file: input.name,
        path,
        sha256: after.sha256,
        digest: authenticode.digest,
        timestamp: time,
        survives,
        why: reasonFor(time, proven, survives),
        request: row.request,
        receipt: row.receipt ?? '',
      };
    }),
  );
}

function reasonFor(time: string | null, proven: boolean, survives: boolean): string {
  if (time === null) return 'no timestamp';
  if (!proven) return 'its timestamp is not proven';
  return survives ? 'stamped before' : 'stamped then or later';
}

function unknownCertificate(rows: readonly AuditRow[], certificate: string): Error {
  const known = new Map(rows.flatMap((row) => (row.certificate ? [[row.certificate.sha256, row]] : [])));
  const told = [...known.values()]
    .slice(0, 5)
    .map((row) => `${row.certificate?.sha256 ?? ''} (${printable(row.certificate?.subject ?? '', 80)})`);
  return usage('certificate-unknown', `no receipt names the certificate ${certificate}`, {
    hint: told.length > 0 ? `receipts name ${told.join('; ')}` : 'no receipt names any certificate',
  });
}

import { usage } from '../../lib/errors.ts';
import { printable } from '../../lib/printable.ts';
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

/** A certificate that receipts name, and the rows with it; `certificate` is its whole SHA-256. */
interface Named {
  readonly certificate: string;
  readonly subject: string;
  readonly programs: RevokedProgram[];
}

/**
 * What Windows does with a certificate that is revoked as of `at`: signatures stamped before that stay good; those
 * stamped then or later, and those without a timestamp, do not. Only a timestamp that was found in the signature
 * and verified counts here, whatever the receipt says. `certificate` is the SHA-256 of one that
 * receipts name, in hex, or its first digits. Throws `certificate-unknown` if no receipt names such a one, and
 * `certificate-ambiguous` if they name several.
 */
export function judgeRevocation(
  rows: Iterable<AuditRow>,
  { certificate, at }: { certificate: string; at: Date },
): Revocation {
  const subjects = new Map<string, string>();
  const found = new Map<string, Named>();
  for (const row of rows) {
    if (!row.certificate) continue;
    const { sha256, subject } = row.certificate;
    subjects.set(sha256, subject);
    if (!sha256.startsWith(certificate)) continue;
    const named = found.get(sha256) ?? { certificate: sha256, subject, programs: [] };
    found.set(sha256, named);
    for (const program of programsOf(row, at)) named.programs.push(program);
  }
  const [named, another] = found.values();
  if (!named) throw unknownCertificate(subjects, certificate);
  if (another) throw ambiguousCertificate([...found.values()], certificate);
  return {
    certificate: named.certificate,
    subject: named.subject,
    at: at.toISOString(),
    killed: named.programs.filter(({ survives }) => !survives),
    surviving: named.programs.filter(({ survives }) => survives),
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

function unknownCertificate(subjects: ReadonlyMap<string, string>, certificate: string): Error {
  const told = [...subjects].slice(0, 5).map(([sha256, subject]) => `${sha256} (${printable(subject, 80)})`);
  return usage('certificate-unknown', `no receipt names the certificate ${certificate}`, {
    hint: told.length > 0 ? `receipts name ${told.join('; ')}` : 'no receipt names any certificate',
  });
}

function ambiguousCertificate(found: readonly Named[], certificate: string): Error {
  const named = found.slice(0, 5).map((each) => `${each.certificate} (${printable(each.subject, 80)})`);
  return usage('certificate-ambiguous', `${found.length} certificates begin with ${certificate}`, {
    hint: `give more digits of one of ${named.join('; ')}`,
  });
}

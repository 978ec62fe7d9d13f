import { shownPlace } from '../../engine/artifact/inside/place.ts';
import { usage } from '../../lib/errors.ts';
import { printable } from '../../lib/printable.ts';
import { programsByCertificate, type ProgramInFile } from './identities.ts';
import type { AuditRow, Revocation, RevokedProgram } from './model.ts';

/** A certificate that receipts name, and the programs signed with it; `certificate` is its full SHA-256. */
interface NamedCertificate {
  readonly certificate: string;
  readonly subject: string;
  readonly programs: RevokedProgram[];
}

/**
 * Judges signatures as Windows does when a certificate is revoked as of `at`: signatures with an earlier timestamp stay
 * valid; those with a later one or none become invalid. Only a timestamp that was found in the signature and verified
 * counts, whatever the receipt says. `certificate` is the SHA-256 in hex, or its first digits. Throws
 * `certificate-unknown` if no receipt names it, and `certificate-ambiguous` if receipts name several.
 */
export function judgeRevocation(
  rows: Iterable<AuditRow>,
  { certificate, at }: { certificate: string; at: Date },
): Revocation {
  const subjects = new Map<string, string>();
  const matches = new Map<string, NamedCertificate>();
  for (const row of rows) {
    if (!row.certificate) continue;
    const { subject } = row.certificate;
    for (const [sha256, programs] of programsByCertificate(row, row.certificate.sha256)) {
      subjects.set(sha256, subject);
      if (!sha256.startsWith(certificate)) continue;
      const match = matches.get(sha256) ?? { certificate: sha256, subject, programs: [] };
      matches.set(sha256, match);
      for (const each of programs) match.programs.push(revokedProgram(row, each, at));
    }
  }
  const [named, another] = matches.values();
  if (!named) throw unknownCertificate(subjects, certificate);
  if (another) throw ambiguousCertificate([...matches.values()], certificate);
  return {
    certificate: named.certificate,
    subject: named.subject,
    at: at.toISOString(),
    killed: named.programs.filter(({ survives }) => !survives),
    surviving: named.programs.filter(({ survives }) => survives),
  };
}

function revokedProgram(row: AuditRow, { file, program }: ProgramInFile, at: Date): RevokedProgram {
  const { after, authenticode, timestamp, proven } = program;
  const time = timestamp?.time ?? null;
  const survives = proven && time !== null && new Date(time) < at;
  return {
    file,
    path: shownPlace(program),
    sha256: after.sha256,
    digest: authenticode.digest,
    timestamp: time,
    survives,
    why: reasonFor(time, proven, survives),
    request: row.request,
    receipt: row.receipt ?? '',
  };
}

function reasonFor(time: string | null, proven: boolean, survives: boolean): string {
  if (time === null) return 'no timestamp';
  if (!proven) return 'its timestamp is not proven';
  return survives ? 'stamped before' : 'stamped then or later';
}

function unknownCertificate(subjects: ReadonlyMap<string, string>, certificate: string): Error {
  const names = [...subjects].slice(0, 5).map(([sha256, subject]) => `${sha256} (${printable(subject, 80)})`);
  return usage('certificate-unknown', `no receipt names the certificate ${certificate}`, {
    hint: names.length > 0 ? `receipts name ${names.join('; ')}` : 'no receipt names any certificate',
  });
}

function ambiguousCertificate(matches: readonly NamedCertificate[], certificate: string): Error {
  const names = matches.slice(0, 5).map((each) => `${each.certificate} (${printable(each.subject, 80)})`);
  return usage('certificate-ambiguous', `${matches.length} certificates begin with ${certificate}`, {
    hint: `give more digits of one of ${names.join('; ')}`,
  });
}

import { identityText, type CertificateIdentity } from '../../lib/x509/certificate-identity.ts';
import type { AuditedCertificate, AuditedEntry, AuditedIdentity, AuditRow } from './model.ts';

type Growing<T extends { programs: number }> = Omit<T, 'programs'> & { programs: number };

interface GrowingIdentity {
  readonly identity: CertificateIdentity;
  readonly certificates: Map<string, Growing<AuditedCertificate>>;
}

/** A program of an answer, and the file of the request that it was in. */
export interface ProgramInFile {
  readonly file: string;
  readonly program: AuditedEntry;
}

/** The programs of a row by the SHA-256 of the certificate that signed them: `own`, the receipt's, or one of their own. */
export function programsByCertificate({ files }: AuditRow, own: string): Map<string, ProgramInFile[]> {
  const programs = new Map<string, ProgramInFile[]>([[own, []]]);
  for (const { input, signed } of files)
    for (const program of signed) {
      const { certificate = own } = program;
      const others = programs.get(certificate) ?? [];
      programs.set(certificate, others);
      others.push({ file: input.name, program });
    }
  return programs;
}

/**
 * Who signed, by identity, which stays the same when a certificate is renewed; below each its certificates. In the order
 * in which rows name them. Keeps no rows.
 */
export class SignerIdentities {
  private readonly identities = new Map<string, GrowingIdentity>();

  /** An answer that is not proven says nothing about who signed. */
  add(row: AuditRow): void {
    const { outcome, certificate, identity, test } = row;
    if (outcome === 'unproven' || !certificate || !identity) return;
    const text = identityText(identity);
    const entry = this.identities.get(text) ?? { identity, certificates: new Map() };
    this.identities.set(text, entry);
    for (const [sha256, programs] of programsByCertificate(row, certificate.sha256)) {
      const isOwn = sha256 === certificate.sha256;
      const known = entry.certificates.get(sha256) ?? {
        sha256,
        subject: certificate.subject,
        notAfter: isOwn ? certificate.notAfter : null,
        test,
        programs: 0,
      };
      entry.certificates.set(sha256, { ...known, programs: known.programs + programs.length });
    }
  }

  list(): AuditedIdentity[] {
    return [...this.identities.values()].map(({ identity, certificates }) => {
      const all = [...certificates.values()];
      return { identity, programs: all.reduce((sum, { programs }) => sum + programs, 0), certificates: all };
    });
  }
}

/** Who signed what some rows describe. */
export function identitiesOf(rows: Iterable<AuditRow>): AuditedIdentity[] {
  const identities = new SignerIdentities();
  for (const row of rows) identities.add(row);
  return identities.list();
}

import { identityText, type CertificateIdentity } from '../../lib/x509/certificate-identity.ts';
import type { AuditedCertificate, AuditedIdentity, AuditRow } from './model.ts';

type Growing<T extends { programs: number }> = Omit<T, 'programs'> & { programs: number };

interface GrowingIdentity {
  readonly identity: CertificateIdentity;
  readonly certificates: Map<string, Growing<AuditedCertificate>>;
}

/** How many programs of a row each certificate signed, by its SHA-256: the receipt's, or one that a program names. */
function programsBy({ files }: AuditRow, own: string): Map<string, number> {
  const counts = new Map([[own, 0]]);
  for (const { certificate = own } of files.flatMap(({ signed }) => signed))
    counts.set(certificate, (counts.get(certificate) ?? 0) + 1);
  return counts;
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
    for (const [sha256, count] of programsBy(row, certificate.sha256)) {
      const isOwn = sha256 === certificate.sha256;
      const known = entry.certificates.get(sha256) ?? {
        sha256,
        subject: certificate.subject,
        notAfter: isOwn ? certificate.notAfter : null,
        test,
        programs: 0,
      };
      entry.certificates.set(sha256, { ...known, programs: known.programs + count });
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

/** Made-up rows and audits for tests. */
import type { Audit, AuditRow } from '../../../src/app/auditor/model.ts';

/** Control characters, bidi overrides and line ends. */
export const HOSTILE = '\u001b[2J\u202egpj.exe\u0007\n\rx';

/** A valid answer, with the changes of a test. */
export const row = (change: Partial<AuditRow> = {}): AuditRow => ({
  outcome: 'signed',
  claimed: 'signed',
  request: 'a'.repeat(40),
  receipt: 'b'.repeat(40),
  requestedAt: '2026-01-05T09:00:00.000Z',
  answeredAt: '2026-01-05T09:02:05.000Z',
  waited: 125_000,
  subject: 'Sign build.zip',
  author: 'Build Master <builder@example.org>',
  askedBy: { principal: 'builder@example.org', key: 'SHA256:abc' },
  vouchedBy: [],
  channel: 'default',
  sourceRevision: null,
  reason: null,
  repeats: null,
  waitingFor: null,
  test: false,
  certificate: {
    subject: 'O=Example, CN=Publisher',
    issuer: 'CN=CA',
    serial: '01',
    sha256: 'cafe'.repeat(16),
    notBefore: '2025-01-01T00:00:00Z',
    notAfter: '2027-01-01T00:00:00Z',
  },
  identity: { subject: 'O=Example, CN=Publisher', issuer: 'CN=CA' },
  files: [{ input: { name: 'build.zip' }, entries: 12, signed: [], kept: [] }],
  attachments: [],
  times: null,
  signpipe: '0.1.0',
  problems: [],
  ...change,
});

/** An audit with these rows and no problems. */
export const auditOf = (rows: readonly AuditRow[], change: Partial<Audit> = {}): Audit => ({
  heads: { requests: null, receipts: null },
  receiptsBy: null,
  hold: null,
  rows,
  problems: [],
  verified: 1,
  ...change,
});

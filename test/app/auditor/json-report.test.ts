import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { auditDocument, documentText, safeJson } from '../../../src/app/auditor/json-report.ts';
import type { AuditedIdentity, AuditRow } from '../../../src/app/auditor/model.ts';
import { auditOf, HOSTILE, row } from './sample-rows.ts';

const LIKE_A_LIST = '"rows": [] "rows":[]';

describe('JSON for terminals and pages', () => {
  it('is printable ASCII without markup, and can be parsed to the same value', () => {
    const value = { text: `</script><!--\u2028\u202e\u009b ${HOSTILE} 🎉 é & ' \ud800` };
    const text = safeJson(value);
    assert.match(text, /^[ !"#$%(-;=?-~]*$/);
    assert.deepEqual(JSON.parse(text), value);
  });
});

describe('the document in chunks', () => {
  const problems = [{ code: 'odd', commit: 'd'.repeat(40), message: LIKE_A_LIST }];
  const same = (rows: readonly AuditRow[], indent: 0 | 2): void => {
    const audit = auditOf(rows, { problems });
    const options = { repository: LIKE_A_LIST, at: new Date(), rows, revocation: null };
    const pieces = [...documentText(audit, options, { indent })];
    assert.equal(pieces.join(''), safeJson(auditDocument(audit, options), indent));
  };
  const rows = [row(), row({ subject: HOSTILE, problems }), row({ files: [] })];

  for (const indent of [0, 2] as const)
    it(`is what it is as a whole, with an indent of ${indent}`, () => {
      for (const count of [0, 1, 3]) same(rows.slice(0, count), indent);
    });

  it('lists the identities that signed, with their certificates', () => {
    const options = { repository: '', at: new Date(), rows, revocation: null };
    const { identities } = JSON.parse([...documentText(auditOf(rows), options, { indent: 0 })].join('')) as {
      identities: AuditedIdentity[];
    };
    const { certificate, identity } = row();
    const { sha256, subject, notAfter } = certificate ?? {};
    const certificates = [{ sha256, subject, notAfter, test: false, programs: 0 }];
    assert.deepEqual(identities, [{ identity, programs: 0, certificates }]);
  });

  it('has one chunk for each row', () => {
    const options = { repository: '', at: new Date(), rows, revocation: null };
    const pieces = [...documentText(auditOf(rows), options, { indent: 2 })];
    assert.equal(pieces.filter((piece) => piece.includes('"requestedAt"')).length, rows.length);
  });

  it('passes every value through `shown`', () => {
    const options = { repository: 'secret', at: new Date(), rows, revocation: null };
    const shown = (value: unknown): unknown => JSON.parse(JSON.stringify(value).replaceAll('build', 'made'));
    const text = [...documentText(auditOf(rows), options, { indent: 0, shown })].join('');
    assert.doesNotMatch(text, /build/);
    assert.equal(text.split('made.zip').length, 1 + 2 * rows.length - 2);
  });
});

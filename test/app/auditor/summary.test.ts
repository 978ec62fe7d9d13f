import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Summary } from '../../../src/app/auditor/summary.ts';
import type { Audit, AuditRow } from '../../../src/app/auditor/model.ts';
import { auditOf, row } from './sample-rows.ts';

const options = { width: 80, colour: false, now: new Date('2026-01-06T00:00:00Z') };
const waiting = row({ outcome: 'waiting', receipt: null, certificate: null, askedBy: null });
const rejected = row({ outcome: 'rejected', certificate: null });

/** The summary of some rows, of which those that `isShown` accepts are shown. */
function lines(
  rows: readonly AuditRow[],
  isShown: (each: AuditRow) => boolean = () => true,
  change: Partial<Audit> = {},
): string[] {
  const summary = new Summary();
  for (const each of rows) summary.add(each, isShown(each));
  return summary.text(auditOf(rows, change), options).split('\n');
}

describe('the summary', () => {
  it('counts every row, shown or not, in the order of outcomes', () => {
    const rows = [waiting, rejected, row(), row(), waiting];
    assert.equal(lines(rows)[0], '2 requests waiting, 3 answers: 2 signed, 1 rejected, 2 waiting');
    const some = lines(rows, ({ outcome }) => outcome === 'signed');
    assert.equal(some[0], '2 requests waiting, 3 answers: 2 signed, 1 rejected, 2 waiting; 3 not shown');
  });

  it('reports an empty history', () => assert.equal(lines([])[0], '0 requests waiting, 0 answers: none'));

  const entry = { proven: true } as AuditRow['files'][number]['signed'][number];
  const files = [{ input: { name: 'a.zip' }, entries: 2, signed: [entry, entry], kept: [] }];
  const renewed = (sha256: string, change: Partial<AuditRow> = {}): AuditRow => {
    const made = row({ files, ...change });
    return { ...made, certificate: made.certificate && { ...made.certificate, sha256 } };
  };
  const signers = (rows: readonly AuditRow[], isShown?: (each: AuditRow) => boolean): string[] =>
    lines(rows, isShown).filter((line) => /^(?:identity|issued by|certificate| {13}and)/.test(line));

  it('lists each identity of the shown rows once, and below it its certificates, with their numbers of programs', () => {
    const other = { identity: { eku: '1.3.6.1.4.1.311.97.7' } };
    const rows = [row({ files }), renewed('beef', { test: true }), renewed('f00d', other), row({ files })];
    assert.deepEqual(signers(rows), [
      'identity     O=Example, CN=Publisher: 6 programs',
      'issued by    CN=CA',
      'certificate  cafecafe  O=Example, CN=Publisher, until 2027-01-01: 4 programs',
      'certificate  beef  O=Example, CN=Publisher (TEST), until 2027-01-01: 2 programs',
      'identity     1.3.6.1.4.1.311.97.7: 2 programs',
      'certificate  f00d  O=Example, CN=Publisher, until 2027-01-01: 2 programs',
    ]);
    assert.deepEqual(
      signers(rows, () => false),
      [],
    );
  });

  it('does not believe an answer that is not proven', () =>
    assert.deepEqual(signers([row({ files, outcome: 'unproven' })]), []));

  it('counts programs by the certificate that signed them, if that is not the one of the receipt', () => {
    const daily = { ...entry, certificate: 'd'.repeat(64) };
    const rows = [row({ files: [{ input: { name: 'a' }, entries: 2, signed: [entry, daily], kept: [] }] })];
    assert.deepEqual(signers(rows), [
      'identity     O=Example, CN=Publisher: 2 programs',
      'issued by    CN=CA',
      'certificate  cafecafe  O=Example, CN=Publisher, until 2027-01-01: 1 program',
      'certificate  dddddddd  O=Example, CN=Publisher: 1 program',
    ]);
  });

  it('lists the ten newest certificates of an identity that has another one each day', () => {
    const rows = Array.from({ length: 25 }, (_, day) => renewed(String(day).padStart(8, '0')));
    const text = signers(rows);
    assert.equal(text.length, 13);
    assert.equal(text[0], 'identity     O=Example, CN=Publisher: 50 programs');
    assert.match(text[11] ?? '', /^certificate {2}00000024/);
    assert.match(text[12] ?? '', /and 15 earlier certificates, which --json lists/);
  });

  it('explains parentheses only if a shown row has them', () => {
    const explains = (text: readonly string[]): boolean => text.some((line) => line.startsWith('( )'));
    assert(explains(lines([row(), waiting])));
    assert(!explains(lines([row(), waiting], (each) => each !== waiting)));
  });

  it('begins with the problems, and counts those that it does not list', () => {
    const problems = Array.from({ length: 100 }, (_, i) => ({
      code: 'commit-unsigned',
      commit: String(i).padStart(40, '0'),
      message: 'not signed',
    }));
    const text = lines([], undefined, { problems }).join('\n');
    assert.match(text, /100 PROBLEMS: this history does not hold/);
    assert.match(text, new RegExp(`commit-unsigned at ${'39'.padStart(40, '0')}`));
    assert.match(text, /and 60 more, which --json lists/);
  });
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { CompressedRows, RowCompressor } from '../../../src/app/auditor/compressed-rows.ts';
import type { AuditRow } from '../../../src/app/auditor/model.ts';
import { HOSTILE, row } from './sample-rows.ts';

const PROBLEM = { code: 'odd', commit: 'd'.repeat(40), message: HOSTILE };

function compressed(...lots: readonly (readonly AuditRow[])[]): CompressedRows {
  const [compressor, rows] = [new RowCompressor(), new CompressedRows()];
  for (const lot of lots) {
    for (const each of lot) compressor.add(each);
    rows.add(compressor.flush());
  }
  return rows;
}

describe('compressed rows', () => {
  it('can be iterated several times, unchanged and in order', () => {
    const lots = [
      [row({ subject: `${HOSTILE} 日本 🎉 \ud800` }), row({ author: '\udc00', files: [] })],
      [],
      [row({ waited: null, outcome: 'waiting', receipt: null })],
    ];
    const rows = compressed(...lots);
    assert.equal(rows.length, 3);
    for (const _ of [1, 2]) assert.deepEqual([...rows], lots.flat());
  });

  it('fill chunks of bounded size, and take little memory', () => {
    const compressor = new RowCompressor();
    for (let i = 0; i < 2000; i += 1) compressor.add(row({ subject: `Sign build-${i}.zip` }));
    const chunks = compressor.flush();
    assert(chunks.length > 2 && chunks.every((chunk) => chunk.rows < 500));
    assert(chunks.every(({ bytes }) => bytes.buffer.byteLength === bytes.length));
    const size = chunks.reduce((sum, { bytes }) => sum + bytes.length, 0);
    assert(size < (2000 * JSON.stringify(row()).length) / 5, `${size} bytes`);
    assert.deepEqual(compressor.flush(), []);
  });

  it('accept problems that are found later, which make an answer unproven', () => {
    const lots = [
      [row(), row({ problems: [PROBLEM] })],
      [row(), row({ receipt: null, outcome: 'waiting' })],
    ];
    const rows = compressed(...lots);
    const later = { ...PROBLEM, code: 'later' };
    for (const at of [1, 2, 3]) rows.addProblems(at, [later]);
    assert.deepEqual(
      [...rows].map(({ outcome, problems }) => [outcome, ...problems.map(({ code }) => code)]),
      [['signed'], ['unproven', 'odd', 'later'], ['unproven', 'later'], ['waiting', 'later']],
    );
  });
});

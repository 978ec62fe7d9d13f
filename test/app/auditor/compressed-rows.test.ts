import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { PackedRows, RowPacker } from '../../../src/app/auditor/compressed-rows.ts';
import type { AuditRow } from '../../../src/app/auditor/model.ts';
import { HOSTILE, row } from './sample-rows.ts';

const PROBLEM = { code: 'odd', commit: 'd'.repeat(40), message: HOSTILE };

function packed(...lots: readonly (readonly AuditRow[])[]): PackedRows {
  const [packer, rows] = [new RowPacker(), new PackedRows()];
  for (const lot of lots) {
    for (const each of lot) packer.add(each);
    rows.add(packer.flush());
  }
  return rows;
}

describe('packed rows', () => {
  it('can be iterated several times, unchanged and in order', () => {
    const lots = [
      [row({ subject: `${HOSTILE} 日本 🎉 \ud800` }), row({ author: '\udc00', files: [] })],
      [],
      [row({ waited: null, outcome: 'waiting', receipt: null })],
    ];
    const rows = packed(...lots);
    assert.equal(rows.length, 3);
    for (const _ of [1, 2]) assert.deepEqual([...rows], lots.flat());
  });

  it('fill packs of bounded size, and take little memory', () => {
    const packer = new RowPacker();
    for (let i = 0; i < 2000; i += 1) packer.add(row({ subject: `Sign build-${i}.zip` }));
    const packs = packer.flush();
    assert(packs.length > 2 && packs.every((pack) => pack.rows < 500));
    assert(packs.every(({ bytes }) => bytes.buffer.byteLength === bytes.length));
    const size = packs.reduce((sum, { bytes }) => sum + bytes.length, 0);
    assert(size < (2000 * JSON.stringify(row()).length) / 5, `${size} bytes`);
    assert.deepEqual(packer.flush(), []);
  });

  it('accept problems that are found later, which make an answer unproven', () => {
    const lots = [
      [row(), row({ problems: [PROBLEM] })],
      [row(), row({ receipt: null, outcome: 'waiting' })],
    ];
    const rows = packed(...lots);
    const later = { ...PROBLEM, code: 'later' };
    for (const at of [1, 2, 3]) rows.addProblems(at, [later]);
    assert.deepEqual(
      [...rows].map(({ outcome, problems }) => [outcome, ...problems.map(({ code }) => code)]),
      [['signed'], ['unproven', 'odd', 'later'], ['unproven', 'later'], ['waiting', 'later']],
    );
  });
});

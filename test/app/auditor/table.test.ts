import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import { columnWidths, fit, widthOf, type TableOptions } from '../../../src/app/auditor/text-table.ts';
import { filterRows, rowFilter, type RowFilter } from '../../../src/app/auditor/filter.ts';
import type { AuditRow } from '../../../src/app/auditor/model.ts';
import { Summary } from '../../../src/app/auditor/summary.ts';
import { AuditTable } from '../../../src/app/auditor/table.ts';
import { durationText } from '../../../src/app/auditor/format.ts';
import { auditOf, HOSTILE, row } from './sample-rows.ts';

const rejected = (message: string): AuditRow =>
  row({ outcome: 'rejected', certificate: null, reason: { code: 'unpinned', message } });

function tableText(rows: readonly AuditRow[], how: TableOptions): string {
  const table = new AuditTable(how);
  for (const each of rows) table.add(each);
  return [...table.text()].join('');
}

const options = { width: 80, colour: false, now: new Date('2026-01-06T00:00:00Z') };

describe('the table', () => {
  it('fits its width with any content, and cuts whole characters', () => {
    const long = 'a-very-long-name-indeed'.repeat(8);
    const rows = [
      row({ files: [{ input: { name: long }, entries: 1, signed: [], kept: [] }] }),
      rejected(long),
      row({ askedBy: null, author: '建築者'.repeat(20), outcome: 'waiting', receipt: null }),
      row({ vouchedBy: [{ name: 'x', signer: long, key: 'k', commit: 'c'.repeat(40) }] }),
    ];
    for (const width of [80, 100, 200])
      for (const line of tableText(rows, { ...options, width }).split('\n'))
        assert(widthOf(line) <= width, `${widthOf(line)} > ${width}: ${line}`);
    assert.match(tableText(rows, options), /a-very-l[^ ]*…/);
  });

  it('has a column for each question', () => {
    const [head = '', line = ''] = tableText([row()], { ...options, width: 120 }).split('\n');
    assert.match(head, /WHEN.*REQUEST.*WHAT.*ASKED BY.*VOUCHED.*SIGNED.*CERT.*WAITED.*OUTCOME/);
    assert.match(line, /2026-01-05 09:02 +a{12} +build\.zip .*builder@example\.org .*cafecafe .*2m .*signed/);
  });

  it('shows enough digits of a request for any command, fewer on a narrow terminal', () => {
    const full = row({
      vouchedBy: [{ name: 'x', signer: 'y'.repeat(50), key: 'k', commit: 'c'.repeat(40) }],
    });
    for (const [width, digits] of [
      [80, 8],
      [99, 8],
      [100, 12],
    ] as const)
      assert.match(tableText([full], { ...options, width }), new RegExp(`09:02 +a{${digits}} `));
  });

  it('shows on the next line why a request was refused or waits', () => {
    const text = tableText(
      [rejected('name the bytes'), row({ outcome: 'waiting', waitingFor: 'on hold' })],
      options,
    );
    assert.match(text, /rejected\n {2}unpinned: name the bytes\n/);
    assert.match(text, /waiting\n {2}waits: on hold$/);
  });

  it('puts unproven names in parentheses', () => {
    assert.match(tableText([row({ askedBy: null })], { ...options, width: 200 }), /\(Build Master <builder/);
  });

  it('makes hostile texts visible, with colour and without', () => {
    const vouch = { name: 'x', signer: HOSTILE, key: 'k', commit: 'c'.repeat(40) };
    const rows = [
      row({ subject: HOSTILE, files: [], vouchedBy: [vouch] }),
      row({
        askedBy: null,
        author: HOSTILE,
        files: [{ input: { name: HOSTILE }, entries: 1, signed: [], kept: [] }],
      }),
      rejected(HOSTILE),
      row({ problems: [{ code: 'odd', commit: 'd'.repeat(40), message: HOSTILE }], outcome: 'unproven' }),
    ];
    const audit = auditOf(rows, {
      receiptsBy: { principal: HOSTILE, key: 'k', name: HOSTILE, root: 'e'.repeat(40) },
      hold: { held: true, commit: null, by: HOSTILE, since: null, reason: HOSTILE, ignored: [], atTip: true },
      problems: rows.flatMap(({ problems }) => problems),
    });
    const summary = new Summary();
    for (const each of rows) summary.add(each, true);
    for (const colour of [false, true]) {
      const text = [
        tableText(rows, { ...options, colour }),
        summary.text(audit, { ...options, colour }),
      ].join('\n');
      const bare = stripVTControlCharacters(text);
      assert.doesNotMatch(bare.replaceAll('\n', ''), /[\p{C}]/u);
      assert(bare.includes('\\u{1b}[2J\\u{202e}gpj'));
      assert.equal(colour, text.includes('\u001b['));
    }
  });
});

describe('columns', () => {
  it('count wide characters twice and combining marks not at all', () => {
    assert.deepEqual(['abc', '日本', 'e\u0301', '🎉', ''].map(widthOf), [3, 4, 1, 2, 0]);
  });

  it('cut to the cell', () => {
    assert.equal(fit('abcdef', 4), 'abc…');
    assert.equal(fit('日本語', 4), '日… ');
    assert.equal(fit('ab', 4), 'ab  ');
    assert.equal(fit('abcdef', 4, false), 'abc…');
  });

  it('are cut where they are widest', () => {
    const columns = [{ title: 'A' }, { title: 'B', atLeast: 3 }, { title: 'C', atLeast: 3 }];
    assert.deepEqual(columnWidths(columns, [5, 20, 10], 21), [5, 8, 8]);
    assert.deepEqual(columnWidths(columns, [5, 20, 10], 5), [5, 3, 3]);
  });
});

describe('filters', () => {
  const rows = [
    row({
      answeredAt: '2026-01-01T00:00:00Z',
      files: [{ input: { name: 'win/App.ZIP' }, entries: 1, signed: [], kept: [] }],
    }),
    row({ answeredAt: '2026-02-01T00:00:00Z' }),
    row({ answeredAt: null, outcome: 'waiting', receipt: null }),
  ];
  const filtered = (filter: RowFilter): number[] =>
    [...filterRows(rows, rowFilter(filter))].map((each) => rows.indexOf(each));

  it('are none unless given', () => assert.deepEqual(filtered({}), [0, 1, 2]));
  it('by time keep waiting requests', () =>
    assert.deepEqual(filtered({ since: new Date('2026-01-15') }), [1, 2]));
  it('by name match the whole name or its last part, in any case', () => {
    assert.deepEqual(filtered({ name: '*.zip' }), [0, 1, 2]);
    assert.deepEqual(filtered({ name: 'app.*' }), [0]);
    assert.deepEqual(filtered({ name: 'win/*' }), [0]);
  });
  it('by outcome', () => assert.deepEqual(filtered({ outcome: 'waiting' }), [2]));
});

describe('durations', () => {
  it('are shown in their largest whole unit', () => {
    const times = [0, 59_400, 60_000, 7_200_000, 86_400_000 * 9, 86_400_000 * 800];
    assert.deepEqual(times.map(durationText), ['0s', '59s', '1m', '2h', '9d', '2y']);
  });
});

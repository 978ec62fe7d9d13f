import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import { columnWidths, fit, widthOf } from '../../src/audit/columns.ts';
import { safeJson } from '../../src/audit/document.ts';
import { filterRows } from '../../src/audit/filter.ts';
import type { Audit, AuditRow } from '../../src/audit/model.ts';
import { summaryText, tableText } from '../../src/audit/table.ts';
import { spanOf } from '../../src/audit/words.ts';

const row = (change: Partial<AuditRow> = {}): AuditRow => ({
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
  files: [{ input: { name: 'build.zip' }, entries: 12, signed: [], kept: [] }],
  times: null,
  signpipe: '0.1.0',
  problems: [],
  ...change,
});

const rejected = (message: string): AuditRow =>
  row({ outcome: 'rejected', certificate: null, reason: { code: 'unpinned', message } });

const HOSTILE = '\u001b[2J\u202egpj.exe\u0007\n\rx';

const options = { width: 80, colour: false, now: new Date('2026-01-06T00:00:00Z') };

describe('the table', () => {
  it('fits its width, whatever is in it, and cuts cleanly', () => {
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
    assert.match(tableText(rows, options), /a-very-long-n[^ ]*…/);
  });

  it('has a column for each question', () => {
    const [head = '', line = ''] = tableText([row()], { ...options, width: 120 }).split('\n');
    assert.match(head, /WHEN.*WHAT.*ASKED BY.*VOUCHED.*SIGNED.*CERT.*WAITED.*OUTCOME/);
    assert.match(line, /2026-01-05 09:02 .*build\.zip .*builder@example\.org .*cafecafe .*2m .*signed/);
  });

  it('tells on the next line why something was refused, or waits', () => {
    const text = tableText(
      [rejected('name the bytes'), row({ outcome: 'waiting', waitingFor: 'on hold' })],
      options,
    );
    assert.match(text, /rejected\n {2}unpinned: name the bytes\n/);
    assert.match(text, /waiting\n {2}waits: on hold$/);
  });

  it('puts what nobody proved in parentheses', () => {
    assert.match(tableText([row({ askedBy: null })], { ...options, width: 200 }), /\(Build Master <builder/);
  });

  it('shows hostile texts as what they are, with colour and without', () => {
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
    const audit: Audit = {
      heads: { requests: null, receipts: null },
      receiptsBy: { principal: HOSTILE, key: 'k', name: HOSTILE, root: 'e'.repeat(40) },
      hold: { held: true, commit: null, by: HOSTILE, since: null, reason: HOSTILE, ignored: [] },
      rows,
      problems: rows.flatMap(({ problems }) => problems),
      verified: 4,
    };
    for (const colour of [false, true]) {
      const text = [
        tableText(rows, { ...options, colour }),
        summaryText(audit, rows, { ...options, colour }),
      ].join('\n');
      const bare = stripVTControlCharacters(text);
      assert.doesNotMatch(bare.replaceAll('\n', ''), /[\p{C}]/u);
      assert(bare.includes('\\u{1b}[2J\\u{202e}gpj'));
      assert.equal(colour, text.includes('\u001b['));
    }
  });

  it('says so first when a history does not hold, and counts what it leaves out', () => {
    const problems = Array.from({ length: 100 }, (_, i) => ({
      code: 'commit-unsigned',
      commit: String(i).padStart(40, '0'),
      message: 'not signed',
    }));
    const text = summaryText(
      {
        heads: { requests: null, receipts: null },
        receiptsBy: null,
        hold: null,
        rows: [],
        problems,
        verified: 1,
      },
      [],
      options,
    );
    assert.match(text, /100 PROBLEMS: this history does not hold/);
    assert.match(text, new RegExp(`commit-unsigned at ${'39'.padStart(40, '0')}`));
    assert.match(text, /and 60 more, which --json tells/);
  });
});

describe('columns', () => {
  it('count wide letters twice and marks not at all', () => {
    assert.deepEqual(['abc', '日本', 'e\u0301', '🎉', ''].map(widthOf), [3, 4, 1, 2, 0]);
  });

  it('cut to the cell', () => {
    assert.equal(fit('abcdef', 4), 'abc…');
    assert.equal(fit('日本語', 4), '日… ');
    assert.equal(fit('ab', 4), 'ab  ');
    assert.equal(fit('abcdef', 4, false), 'abc…');
  });

  it('take from the widest that may be cut', () => {
    const columns = [{ title: 'A' }, { title: 'B', atLeast: 3 }, { title: 'C', atLeast: 3 }];
    assert.deepEqual(columnWidths(columns, [['fixed', 'b'.repeat(20), 'c'.repeat(10)]], 21), [5, 8, 8]);
    assert.deepEqual(columnWidths(columns, [['fixed', 'b'.repeat(20), 'c'.repeat(10)]], 5), [5, 3, 3]);
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
  const found = (filter: Parameters<typeof filterRows>[1]): number[] =>
    filterRows(rows, filter).map((each) => rows.indexOf(each));

  it('are none unless given', () => assert.deepEqual(found({}), [0, 1, 2]));
  it('by time keep what waits', () => assert.deepEqual(found({ since: new Date('2026-01-15') }), [1, 2]));
  it('by name match the whole or its last part, in any case', () => {
    assert.deepEqual(found({ name: '*.zip' }), [0, 1, 2]);
    assert.deepEqual(found({ name: 'app.*' }), [0]);
    assert.deepEqual(found({ name: 'win/*' }), [0]);
  });
  it('by outcome', () => assert.deepEqual(found({ outcome: 'waiting' }), [2]));
});

describe('JSON for terminals and pages', () => {
  it('holds nothing but printable ASCII without markup, and reads back the same', () => {
    const value = { text: `</script><!--\u2028\u202e\u009b ${HOSTILE} 🎉 é & ' \ud800` };
    const text = safeJson(value);
    assert.match(text, /^[ !"#$%(-;=?-~]*$/);
    assert.deepEqual(JSON.parse(text), value);
  });
});

describe('spans of time', () => {
  it('are told in their largest whole unit', () => {
    const times = [0, 59_400, 60_000, 7_200_000, 86_400_000 * 9, 86_400_000 * 800];
    assert.deepEqual(times.map(spanOf), ['0s', '59s', '1m', '2h', '9d', '2y']);
  });
});

import { describe, it } from 'node:test';
import assert from 'node:assert/strict';
import { printable, printableLines } from '../../src/lib/printable.ts';

describe('printable makes visible', () => {
  const hidden: [what: string, text: string, shown: string][] = [
    ['a NUL', 'a\u0000z', 'a\\u{0}z'],
    ['the escape that begins a terminal sequence', '\u001b[1m', '\\u{1b}[1m'],
    ['its one-character form among the C1 controls', '\u009b1m', '\\u{9b}1m'],
    ['BEL, backspace and DEL', '\u0007\u0008\u007f', '\\u{7}\\u{8}\\u{7f}'],
    ['line ends and tabs', 'a\n\r\tz', 'a\\n\\r\\tz'],
    ['NEL, the line and the paragraph separator', '\u0085\u2028\u2029', '\\u{85}\\u{2028}\\u{2029}'],
    [
      'bidi marks, overrides and isolates',
      '\u200f\u202e\u2066\u2069',
      '\\u{200f}\\u{202e}\\u{2066}\\u{2069}',
    ],
    ['zero-width space, joiner and byte-order mark', '\u200b\u200d\ufeff', '\\u{200b}\\u{200d}\\u{feff}'],
    ['a soft hyphen and a Hangul filler', '\u00ad\u3164', '\\u{ad}\\u{3164}'],
    ['tag characters beyond the first plane', '\u{e0041}', '\\u{e0041}'],
    ['private and unassigned characters', '\ue000\u0378', '\\u{e000}\\u{378}'],
    ['lone surrogates', '\ud83dx\udd0f', '\\u{d83d}x\\u{dd0f}'],
  ];
  for (const [what, text, shown] of hidden) it(what, () => assert.equal(printable(text), shown));
});

describe('printable', () => {
  it('keeps text of any script', () => {
    const text = 'Grüße, 署名 книги עברית 🔏 "quoted" \\ and spaces ';
    assert.equal(printable(text), text);
  });
  it('cuts long text', () => {
    assert.equal(printable('abcdef', 3), 'abc…');
    assert.equal(printable('abc', 3), 'abc');
    assert.equal(printable('x'.repeat(10_000)).length, 1001);
  });
  it('shows a surrogate cut in half', () => assert.equal(printable('🔏', 1), '\\u{d83d}…'));
});

describe('printableLines', () => {
  it('keeps line feeds, and escapes other hidden characters', () =>
    assert.equal(printableLines('a\r\nb\u001b'), 'a\nb\\u{1b}'));
  it('limits the whole text', () => assert.equal(printableLines('a\nb\nc', 3), 'a\nb…'));
});

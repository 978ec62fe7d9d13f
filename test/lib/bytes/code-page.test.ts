import assert from 'node:assert/strict';
import { it } from 'node:test';
import { codePageDecoder, decodeWindows1252 } from '../../../src/lib/bytes/code-page.ts';

const decode = (codePage: number, hex: string): string => codePageDecoder(codePage)(Buffer.from(hex, 'hex'));

it('text is decoded by its Windows code page, also what Latin-1 has as control characters', () => {
  assert.equal(decode(1252, '8096929e416dfc'), '€–’žAmü');
  assert.equal(decode(0, '96'), '–', 'a neutral one');
  assert.equal(decode(1250, '9a9e8c'), 'šžŚ');
  assert.equal(decode(932, '835c41'), 'ソA', 'a backslash may be half of a character');
  assert.equal(decode(936, 'd6d0'), '中');
  assert.equal(decode(949, 'b0a1'), '가');
  assert.equal(decode(874, 'a1'), 'ก');
  assert.equal(decode(65_001, 'efbbbfc582'), '\ufeffł');
});

it('bytes without a meaning in windows-1252 stay control characters', () => {
  assert.equal(decodeWindows1252(Buffer.from('818d8f909d', 'hex')), '\u0081\u008d\u008f\u0090\u009d');
});

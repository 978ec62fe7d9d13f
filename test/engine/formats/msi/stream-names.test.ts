import assert from 'node:assert/strict';
import { it } from 'node:test';
import { decodeStreamName, encodeStreamName } from '../../../../src/engine/formats/msi/stream-names.ts';

/** Names as an MSI file stores them, in hex code units, and what msitools lists. */
const NAMES: readonly [string, string, boolean][] = [
  ['!_StringData', '48403f3f4577446c3b6a45e44824', true],
  ['!File', '4840430f422f', true],
  ['product.cab', '457341f241b847b741264825', false],
];

const hex = (name: string): string => Buffer.from(name, 'utf16le').swap16().toString('hex');

for (const [readable, stored, table] of NAMES)
  it(`packs and unpacks the stream name ${readable}`, () => {
    const name = Buffer.from(stored, 'hex').swap16().toString('utf16le');
    assert.equal(decodeStreamName(name), readable);
    assert.equal(hex(encodeStreamName(readable.replace('!', ''), { table })), stored);
  });

it('leaves characters outside of the alphabet as they are', () => {
  assert.equal(decodeStreamName('\u0005SummaryInformation'), '\u0005SummaryInformation');
  assert.equal(decodeStreamName(encodeStreamName('Binary.ä b')), 'Binary.ä b');
});

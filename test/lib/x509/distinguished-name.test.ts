import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseDer, TAG } from '../../../src/lib/asn1/der.ts';
import { bmp, oid, seq, set, tlv, utf8 } from '../../../src/lib/asn1/encode-der.ts';
import { nameText } from '../../../src/lib/x509/distinguished-name.ts';

const CN = '2.5.4.3';
const O = '2.5.4.10';

type Attribute = readonly [type: string, value: string, encode?: (text: string) => Buffer];

const attribute = ([type, value, encode = utf8]: Attribute): Buffer => seq(oid(type), encode(value));

/** The text of a name, whose relative names have these attributes. */
const text = (...relative: readonly (readonly Attribute[])[]): string =>
  nameText(parseDer(seq(...relative.map((each) => set(...each.map(attribute)))), 'name'), 'name');

describe('the text of a name', () => {
  it('is the same for every encoding of a value', () => {
    const printable = (value: string): Buffer => tlv(TAG.printableString, Buffer.from(value));
    const texts = [utf8, bmp, printable].map((encode) => text([[O, 'Example', encode]]));
    assert.deepEqual(new Set(texts), new Set(['O=Example']));
  });

  it('is another one for each name, since names are compared by it', () => {
    const names = [
      text([[O, 'A']], [[CN, 'B']]),
      text([[CN, 'B']], [[O, 'A']]),
      text([
        [O, 'A'],
        [CN, 'B'],
      ]),
      text([[O, 'A, CN=B']]),
      text([
        [O, 'A"'],
        [CN, 'B'],
      ]),
      text([[O, 'A + CN=B']]),
      text([[O, '"A, CN=B"']]),
      text([[O, '\\"A, CN=B\\"']]),
      text([[O, 'A; CN=B']]),
      text([[O, 'A']], [[O, 'B']]),
      text([[O, 'A ']], [[CN, 'B']]),
    ];
    assert.equal(new Set(names).size, names.length, names.join('\n'));
    assert.equal(names[2], 'CN=B + O=A', 'a SET is sorted in DER');
  });
});

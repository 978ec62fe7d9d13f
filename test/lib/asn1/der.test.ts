import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { describe, it } from 'node:test';
import * as der from '../../../src/lib/asn1/der.ts';
import * as encode from '../../../src/lib/asn1/encode-der.ts';
import { OID } from '../../../src/lib/asn1/oids.ts';
import { SignpipeError } from '../../../src/lib/errors.ts';

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');

const malformed = (error: unknown): boolean =>
  error instanceof SignpipeError && error.code === 'der-malformed' && error.kind === 'invalid';

/** What OpenSSL's parser prints of a value. */
const openssl = (value: Buffer): string =>
  execFileSync('openssl', ['asn1parse', '-inform', 'DER'], { input: value }).toString();

describe('DER reader', () => {
  it('keeps the exact bytes of a value and of its contents', () => {
    const value = der.parseDer(hex('30 03 02 01 05'), 'x');
    assert.deepEqual(value.raw, hex('30 03 02 01 05'));
    assert.deepEqual(value.body, hex('02 01 05'));
  });

  const refused: [name: string, bytes: string][] = [
    ['nothing', ''],
    ['a tag without a length', '30'],
    ['bytes after the end', '05 00 00'],
    ['a value that runs past the end', '04 05 00'],
    ['an indefinite length (BER)', '30 80 00 00'],
    ['a length in more octets than needed (BER)', '04 81 01 00'],
    ['a length with a leading zero', '04 82 00 01 00'],
    ['a length of five octets', '04 85 01 00 00 00 00'],
    ['a high tag number', '1f 81 01 00'],
  ];
  for (const [name, bytes] of refused)
    it(`der-malformed: ${name}`, () => assert.throws(() => der.parseDer(hex(bytes), 'x'), malformed));

  it('der-malformed: children of a primitive value, or cut short', () => {
    assert.throws(() => der.children(der.parseDer(hex('04 02 05 00'), 'x'), 'x'), malformed);
    assert.throws(() => der.children(der.parseDer(hex('30 02 05 05'), 'x'), 'x'), malformed);
  });

  const beyond: [name: string, contents: string][] = [
    ['contents', '04 02'],
    ['a length', '04'],
    ['a length of several octets', '04 82 01'],
  ];
  for (const [name, contents] of beyond)
    it(`der-malformed: ${name} beyond the parent, though bytes follow it`, () => {
      const both = encode.seq(encode.tlv(der.TAG.sequence, hex(contents)), encode.octets(Buffer.alloc(1000)));
      const [first] = der.children(der.parseDer(both, 'x'), 'x');
      assert.throws(() => der.children(first ?? assert.fail(), 'x'), malformed);
    });

  it('der-malformed: left-over, missing and wrongly tagged components', () => {
    const two = hex('30 04 05 00 05 00');
    const reader = der.DerReader.of(two, 'x');
    reader.next(der.TAG.null);
    assert.throws(() => reader.end(), malformed);
    assert.throws(() => reader.next(der.TAG.integer), malformed);
    assert.throws(() => reader.next(), malformed);
  });

  const broken: [name: string, bytes: string, read: (value: der.Der) => unknown][] = [
    ['an empty integer', '02 00', der.readInteger],
    ['an integer padded with zero', '02 02 00 7f', der.readInteger],
    ['an integer padded with ones', '02 02 ff 80', der.readInteger],
    ['a negative count', '02 01 ff', der.readSmallInteger],
    ['a boolean that is neither', '01 01 01', der.readBoolean],
    ['an object identifier that does not end', '06 01 80', der.readOid],
    ['a 31 February', '17 0d 32 36 30 32 33 31 30 30 30 30 30 30 5a', der.readTime],
    ['a local time', '17 11 32 36 30 31 30 31 30 30 30 30 30 30 2b 30 31 30 30', der.readTime],
    ['a BMPString of an odd length', '1e 01 41', der.readText],
    ['a bit string without its first octet', '03 00', der.readBitString],
  ];
  for (const [name, bytes, read] of broken)
    it(`der-malformed: ${name}`, () => assert.throws(() => read(der.parseDer(hex(bytes), 'x')), malformed));
});

describe('DER writer', () => {
  it('writes integers that read back, at every octet boundary', () => {
    for (const value of [0n, 1n, 127n, 128n, 255n, 256n, -1n, -128n, -129n, 1n << 63n, 1n << 159n])
      assert.equal(der.readInteger(der.parseDer(encode.integer(value), 'x')), value);
  });

  it('writes an unsigned magnitude with as few octets as possible', () => {
    assert.deepEqual(encode.integer(hex('00 00 7f')), hex('02 01 7f'));
    assert.deepEqual(encode.integer(hex('80')), hex('02 02 00 80'));
  });

  it('writes every object identifier as OpenSSL reads it', () => {
    for (const dotted of [...Object.values(OID), '2.999.3', '0.39', '1.0.4294967296.7']) {
      const value = encode.oid(dotted);
      assert.equal(der.readOid(der.parseDer(value, 'x')), dotted);
      const line = openssl(value);
      assert.match(line, /OBJECT/);
      assert.doesNotMatch(line, /BAD OBJECT/);
    }
  });

  it('writes times as RFC 5280 has them: UTCTime through 2049, then GeneralizedTime', () => {
    assert.match(openssl(encode.time(new Date('2049-12-31T23:59:59Z'))), /UTCTIME\s*:491231235959Z/);
    assert.match(
      openssl(encode.time(new Date('2050-01-01T00:00:00Z'))),
      /GENERALIZEDTIME\s*:20500101000000Z/,
    );
    const now = new Date('2026-03-04T05:06:07Z');
    assert.deepEqual(der.readTime(der.parseDer(encode.time(now), 'x')), now);
  });

  it('sorts the members of a SET OF', () => {
    assert.deepEqual(encode.set(hex('04 01 02'), hex('02 01 05')), hex('31 06 02 01 05 04 01 02'));
  });

  it('writes long lengths in the fewest octets', () => {
    for (const length of [0, 127, 128, 255, 256, 65_535, 65_536])
      assert.equal(der.parseDer(encode.octets(Buffer.alloc(length)), 'x').body.length, length);
  });

  it('writes a BMPString big-endian', () => {
    assert.deepEqual(encode.bmp('é'), hex('1e 02 00 e9'));
    assert.equal(der.readText(der.parseDer(encode.bmp('Bl\u00e9nder'), 'x')), 'Bl\u00e9nder');
  });

  it('keeps constructed values constructed under an implicit tag', () => {
    assert.deepEqual(encode.implicit(1, encode.seq(encode.NULL)), hex('a1 02 05 00'));
    assert.deepEqual(encode.implicit(1, encode.octets(hex('aa'))), hex('81 01 aa'));
  });
});

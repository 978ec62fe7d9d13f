import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  bitString,
  explicit,
  implicit,
  NULL,
  octets,
  oid,
  seq,
  set,
} from '../../../../src/lib/asn1/encode-der.ts';
import { OID } from '../../../../src/lib/asn1/oids.ts';
import { buildIndirectData } from '../../../../src/engine/authenticode/indirect-data.ts';
import { spcFile } from '../../../../src/engine/authenticode/spc-link.ts';
import {
  parsePeImageData,
  peImageData,
  readPeContent,
} from '../../../../src/engine/formats/pe/image-data.ts';
import type { SignedContent } from '../../../../src/engine/formats/signable-file.ts';

const CLASS = Buffer.from('a6b586d5b4a12466ae05a217da8e60d6', 'hex');
const TABLE = Buffer.alloc(36, 7);

/** SpcIndirectDataContent with this value of SpcPeImageData, over a digest of zeros. */
const contentWith = (value: Buffer): SignedContent =>
  buildIndirectData({ ...peImageData(null), value, hash: 'sha256', digest: Buffer.alloc(32) });

/** SpcPeImageData with an object of a class, which holds these attributes. */
const withObject = (classId: Buffer, ...attributes: Buffer[]): Buffer =>
  seq(bitString(Buffer.alloc(0)), explicit(0, implicit(1, seq(octets(classId), octets(set(...attributes))))));

const attribute = (type: string, ...values: Buffer[]): Buffer => seq(oid(type), set(...values));
const [V1, V2] = [OID.spcPageHashesV1, OID.spcPageHashesV2];

describe('SpcPeImageData', () => {
  it('is written as signtool does: no flags, an empty name', () => {
    assert.equal(peImageData(null).value.toString('hex'), '3009030100a004a2028000');
    const { flags, file } = parsePeImageData(peImageData(null).value, 'it');
    assert.deepEqual({ flags, file }, { flags: Buffer.alloc(0), file: { kind: 'file', file: '' } });
  });

  it('is read as osslsigncode writes it, and earlier versions did: includeResources, <<<Obsolete>>>', () => {
    const value = seq(bitString(Buffer.from([0x80]), 7), explicit(0, spcFile('<<<Obsolete>>>')));
    const file = { kind: 'file', file: '<<<Obsolete>>>' };
    assert.deepEqual(parsePeImageData(value, 'it'), { flags: Buffer.from([0x80]), file });
    assert.deepEqual(readPeContent(contentWith(value), 'it').pageHashes, []);
  });

  it('carries page hashes as signtool /ph writes them: a set with one table in a serialised object', () => {
    const { value } = peImageData(TABLE);
    assert.deepEqual(value, withObject(CLASS, attribute(V2, octets(TABLE))));
    assert.deepEqual(readPeContent(contentWith(value), 'it').pageHashes, [{ hash: 'sha256', table: TABLE }]);
  });

  it('may carry SHA-1 page hashes, of older signers, beside or instead of SHA-256', () => {
    const [older, newer] = [attribute(V1, octets(TABLE)), attribute(V2, octets(TABLE))];
    const hashes = (...attributes: Buffer[]): string[] =>
      readPeContent(contentWith(withObject(CLASS, ...attributes)), 'it').pageHashes.map(({ hash }) => hash);
    assert.deepEqual(hashes(older), ['sha1']);
    assert.deepEqual(hashes(older, newer), ['sha1', 'sha256']);
  });

  for (const [what, value] of [
    ['an object of another class', withObject(Buffer.alloc(16, 1), attribute(V2, octets(TABLE)))],
    ['a class of another length', withObject(CLASS.subarray(1), attribute(V2, octets(TABLE)))],
    ['no attribute', withObject(CLASS)],
    ['an unknown attribute', withObject(CLASS, attribute(OID.data, octets(TABLE)))],
    [
      'an unknown attribute beside a known one',
      withObject(CLASS, attribute(V2, octets(TABLE)), attribute(OID.data)),
    ],
    ['a type without a table', withObject(CLASS, attribute(V2))],
    ['a type with two tables', withObject(CLASS, attribute(V2, octets(TABLE), octets(CLASS)))],
    ['the same type twice', withObject(CLASS, attribute(V2, octets(TABLE)), attribute(V2, octets(TABLE)))],
  ] as const)
    it(`page-hashes-malformed: ${what}`, () =>
      assert.throws(() => readPeContent(contentWith(value), 'it'), { code: 'page-hashes-malformed' }));

  it('der-malformed: a link of no kind, bytes after it, and attributes that are none', () => {
    const malformed = [
      seq(explicit(0, NULL)),
      seq(NULL),
      withObject(CLASS, NULL),
      withObject(CLASS, seq(oid(V2))),
      withObject(CLASS, seq(oid(V2), octets(TABLE))),
      withObject(CLASS, seq(oid(V2), set(octets(TABLE)), NULL)),
      withObject(CLASS, attribute(V2, NULL)),
      seq(explicit(0, implicit(1, seq(octets(CLASS), octets(NULL))))),
      seq(explicit(0, implicit(1, seq(octets(CLASS))))),
    ];
    for (const value of malformed)
      assert.throws(() => readPeContent(contentWith(value), 'it'), { code: 'der-malformed' });
  });
});

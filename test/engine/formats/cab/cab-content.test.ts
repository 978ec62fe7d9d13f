import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, it } from 'node:test';
import { buildIndirectData } from '../../../../src/engine/authenticode/indirect-data.ts';
import { spcFile, spcMoniker, spcUrl } from '../../../../src/engine/authenticode/spc-link.ts';
import { buildCabContent, readCabContent } from '../../../../src/engine/formats/cab/cab-content.ts';
import { peImageData } from '../../../../src/engine/formats/pe/image-data.ts';
import { NULL, octets, oid, seq, set } from '../../../../src/lib/asn1/encode-der.ts';
import { OID, type DigestName } from '../../../../src/lib/asn1/oids.ts';
import { isInvalid } from '../../../../src/lib/errors.ts';
import type { SignedContent } from '../../../../src/engine/formats/signable-file.ts';

const OFFSET = 0x83;
const digest = createHash('sha256').update('a cabinet').digest();
const hashOf = (hash: string, offset = OFFSET): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(offset);
  return createHash(hash).update(bytes).digest();
};

const content = (type: string, value: Buffer): SignedContent =>
  buildIndirectData({ type, value, hash: 'sha256', digest });
const CLASS_ID = Buffer.from('a6b586d5b4a12466ae05a217da8e60d6', 'hex');
const enhanced = (hash: Buffer): Buffer => set(seq(oid(OID.spcEnhancedHash), set(octets(hash))));
const link = (data: Buffer, classId = CLASS_ID): SignedContent =>
  content(OID.spcLink, spcMoniker(classId, data));

const read = (signed: SignedContent): Buffer => readCabContent(signed, OFFSET, 'it').digest;

describe('what signatures of cabinets sign', () => {
  it('is what signtool writes, with each digest', () => {
    for (const hash of ['sha256', 'sha384', 'sha512'] satisfies DigestName[]) {
      const stated = createHash(hash).update('a cabinet').digest();
      const made = readCabContent(buildCabContent(hash, stated, OFFSET), OFFSET, 'it');
      assert.deepEqual([made.hash, made.digest], [hash, stated]);
    }
    assert.deepEqual(buildCabContent('sha256', digest, OFFSET), link(enhanced(hashOf('sha256'))));
  });

  it('may hold a hash of the offset with another algorithm than that of the digest', () => {
    for (const hash of ['sha1', 'sha384', 'md5'])
      assert.deepEqual(read(link(enhanced(hashOf(hash)))), digest);
  });

  it('may be of the kinds that osslsigncode and jsign sign, or have a link without meaning', () => {
    const others = [
      content(OID.spcCabData, spcFile('<<<Obsolete>>>')),
      content(OID.spcCabData, peImageData(null).value),
      content(OID.spcLink, spcFile('<<<Obsolete>>>')),
      content(OID.spcLink, spcUrl('http://example.org/')),
    ];
    for (const other of others) assert.deepEqual(read(other), digest);
  });

  const refused: [code: string, what: string, signed: SignedContent][] = [
    ['cab-offset-hash-differs', 'a hash of another offset', link(enhanced(hashOf('sha256', OFFSET + 1)))],
    ['cab-offset-hash-differs', 'a hash of another length', link(enhanced(Buffer.alloc(31)))],
    ['authenticode-kind', 'a moniker of another class', link(enhanced(hashOf('sha256')), Buffer.alloc(16))],
    ['authenticode-kind', 'another attribute', link(set(seq(oid(OID.data), set(octets(hashOf('sha256'))))))],
    ['authenticode-kind', 'the content of a program', content(OID.spcPeImageData, peImageData(null).value)],
    ['authenticode-content', 'something else', { type: OID.data, der: octets(digest) }],
    [
      'der-malformed',
      'two hashes',
      link(set(seq(oid(OID.spcEnhancedHash), set(octets(hashOf('sha256')), octets(hashOf('sha1')))))),
    ],
    [
      'der-malformed',
      'two attributes',
      link(set(seq(oid(OID.spcEnhancedHash), set(octets(hashOf('sha256')))), NULL)),
    ],
    ['der-malformed', 'a link that is none', content(OID.spcLink, NULL)],
    ['der-malformed', 'an older link that is none', content(OID.spcCabData, NULL)],
  ];
  for (const [code, what, signed] of refused)
    it(`${code}: ${what}`, () => assert.throws(() => read(signed), { code }));

  it('is refused wherever it is cut off, and no changed byte makes it something else', () => {
    const { type, der } = buildCabContent('sha256', digest, OFFSET);
    for (let at = 0; at < der.length; at += 1) {
      assert.throws(() => read({ type, der: der.subarray(0, at) }), isInvalid);
      const changed = Buffer.from(der);
      changed.writeUInt8((der[at] ?? 0) ^ 1, at);
      try {
        read({ type, der: changed });
      } catch (error) {
        assert(isInvalid(error), String(error));
      }
    }
  });
});

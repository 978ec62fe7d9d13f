import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { explicit, implicit, NULL, octets, oid, seq } from '../../../src/lib/asn1/der.ts';
import { OID, type DigestName } from '../../../src/lib/asn1/oids.ts';
import {
  buildIndirectData,
  parseIndirectData,
  parsePeImageData,
  peImageData,
} from '../../../src/engine/authenticode/indirect-data.ts';

const DIGEST = Buffer.alloc(32, 0xd1);
const made = (hash: DigestName = 'sha256', digest = DIGEST): Buffer =>
  buildIndirectData({ ...peImageData, hash, digest });

/** SpcIndirectDataContent with parts of one's own. */
const content = (algorithm: Buffer, digest: Buffer, ...more: Buffer[]): Buffer =>
  seq(seq(oid(peImageData.type), peImageData.value), seq(algorithm, digest), ...more);

const SHA256 = seq(oid(OID.sha256), NULL);

describe('SpcIndirectDataContent', () => {
  it('has the very bytes that osslsigncode writes (pe.test.ts compares them live)', () => {
    const obsolete = Buffer.from('<<<Obsolete>>>', 'utf16le').swap16().toString('hex');
    const image = `30 34  06 0a 2b06010401823702010f  30 26  03 02 0780  a0 20 a2 1e 80 1c ${obsolete}`;
    const digest = `30 31  30 0d 06 09 608648016503040201 05 00  04 20 ${DIGEST.toString('hex')}`;
    assert.equal(made().toString('hex'), `30 69 ${image} ${digest}`.replaceAll(' ', ''));
  });

  it('comes back as it was written, with every digest', () => {
    for (const [hash, length] of [
      ['sha256', 32],
      ['sha384', 48],
      ['sha512', 64],
    ] as const) {
      const digest = Buffer.alloc(length, 7);
      assert.deepEqual(parseIndirectData(made(hash, digest), 'it'), { ...peImageData, hash, digest });
    }
  });

  it('may hold an old digest, in a file that is only read', () => {
    const old = content(seq(oid(OID.sha1), NULL), octets(Buffer.alloc(20)));
    assert.equal(parseIndirectData(old, 'it').hash, 'sha1');
  });

  const refused: readonly (readonly [code: string, why: string, bytes: Buffer])[] = [
    ['der-malformed', 'bytes after its end', Buffer.concat([made(), Buffer.alloc(1)])],
    ['der-malformed', 'cut short', made().subarray(0, -1)],
    ['der-malformed', 'a third component', content(SHA256, octets(DIGEST), NULL)],
    ['der-malformed', 'an OCTET STRING around it', octets(made())],
    ['der-malformed', 'a digest that is no OCTET STRING', content(SHA256, seq())],
    ['cms-digest-unknown', 'an unknown digest', content(seq(oid('1.2.3.4'), NULL), octets(DIGEST))],
    ['authenticode-digest-length', 'a digest too short', content(SHA256, octets(DIGEST.subarray(1)))],
    ['authenticode-digest-length', 'an empty digest', content(SHA256, octets(Buffer.alloc(0)))],
  ];
  for (const [code, why, bytes] of refused)
    it(`${code}: ${why}`, () => {
      assert.throws(() => parseIndirectData(bytes, 'it'), { code, kind: 'invalid' });
    });
});

describe('SpcPeImageData', () => {
  it('is read as osslsigncode writes it, and as signtool does: no flags, an empty name', () => {
    const ours = parsePeImageData(peImageData.value, 'it');
    assert.deepEqual(ours, { flags: Buffer.from([0x80]), file: { kind: 'file', file: '<<<Obsolete>>>' } });
    const signtool = parsePeImageData(Buffer.from('3009030100a004a2028000', 'hex'), 'it');
    assert.deepEqual(signtool, { flags: Buffer.alloc(0), file: { kind: 'file', file: '' } });
  });

  it('may carry page hashes: a serialized object', () => {
    const [classId, data] = [Buffer.alloc(16, 1), Buffer.alloc(5, 2)];
    const value = seq(explicit(0, implicit(1, seq(octets(classId), octets(data)))));
    assert.deepEqual(parsePeImageData(value, 'it').file, { kind: 'moniker', classId, data });
  });

  it('der-malformed: a link of no kind, and bytes after it', () => {
    assert.throws(() => parsePeImageData(seq(explicit(0, NULL)), 'it'), { code: 'der-malformed' });
    assert.throws(() => parsePeImageData(seq(NULL), 'it'), { code: 'der-malformed' });
  });
});

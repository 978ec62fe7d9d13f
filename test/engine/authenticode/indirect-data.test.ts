import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { NULL, octets, oid, seq } from '../../../src/lib/asn1/encode-der.ts';
import { OID, type DigestName } from '../../../src/lib/asn1/oids.ts';
import {
  buildIndirectData,
  readIndirectData,
  requireDigestLength,
  type IndirectData,
} from '../../../src/engine/authenticode/indirect-data.ts';
import { peImageData as imageData } from '../../../src/engine/formats/pe/image-data.ts';

const peImageData = imageData(null);
const DIGEST = Buffer.alloc(32, 0xd1);
const made = (hash: DigestName = 'sha256', digest = DIGEST): Buffer =>
  buildIndirectData({ ...peImageData, hash, digest }).der;

/** Reads the DER as content of its own type; its digest must have the right length. */
function read(der: Buffer, type: string = OID.spcIndirectData): IndirectData {
  const data = readIndirectData({ type, der }, 'it');
  requireDigestLength(data, 'it');
  return data;
}

/** SpcIndirectDataContent with given parts. */
const content = (algorithm: Buffer, digest: Buffer, ...more: Buffer[]): Buffer =>
  seq(seq(oid(peImageData.type), peImageData.value), seq(algorithm, digest), ...more);

const SHA256 = seq(oid(OID.sha256), NULL);

describe('SpcIndirectDataContent', () => {
  it('has the bytes that signtool writes', () => {
    const image = '30 17  06 0a 2b06010401823702010f  30 09  03 01 00  a0 04 a2 02 80 00';
    const digest = `30 31  30 0d 06 09 608648016503040201 05 00  04 20 ${DIGEST.toString('hex')}`;
    assert.equal(made().toString('hex'), `30 4c ${image} ${digest}`.replaceAll(' ', ''));
  });

  it('is parsed as it was built, with every digest', () => {
    for (const [hash, length] of [
      ['sha256', 32],
      ['sha384', 48],
      ['sha512', 64],
    ] as const) {
      const digest = Buffer.alloc(length, 7);
      assert.deepEqual(read(made(hash, digest)), { ...peImageData, hash, digest });
    }
  });

  it('may hold an old digest when it is verified', () => {
    const old = content(seq(oid(OID.sha1), NULL), octets(Buffer.alloc(20)));
    assert.equal(read(old).hash, 'sha1');
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
  it('authenticode-content: another content type', () => {
    assert.throws(() => read(made(), OID.tstInfo), { code: 'authenticode-content', kind: 'invalid' });
  });

  for (const [code, why, bytes] of refused)
    it(`${code}: ${why}`, () => {
      assert.throws(() => read(bytes), { code, kind: 'invalid' });
    });
});

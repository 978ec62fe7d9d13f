/** Deflate as zlib itself compresses, whatever zlib Node was built with. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { inflateRawSync } from 'node:zlib';
import { sha256Hex } from '../../../src/lib/bytes/hash.ts';
import { referenceDeflate } from '../../../src/lib/zip/reference-deflate.ts';

const text = Buffer.from(
  Array.from({ length: 500 }, (_, at) => `<Default Extension="e${at % 7}" ContentType="t/${at * at}"/>`).join(
    '',
  ),
);

describe('the reference deflate', () => {
  // From Python with zlib 1.2.13: compressobj(6, DEFLATED, -15, 8).
  it('has the bytes of zlib 1.2.13', () => {
    const plain = referenceDeflate(text, { flushed: false });
    assert.equal(
      `${plain.length} ${sha256Hex(plain)}`,
      '2500 c3b2af282e4e48c417f980bb2634b4a850954b394af1427d010878b4cc8413a3',
    );
    const flushed = referenceDeflate(text, { flushed: true });
    assert.equal(
      `${flushed.length} ${sha256Hex(flushed)}`,
      '2507 2114e22c168790b6d9bc044d2f89e193b1e43c47252a803f9cb62daf3ef8f2a6',
    );
    assert.equal(flushed.subarray(-6).toString('hex'), '0000ffff0300');
  });

  it('inflates to what it was, also if that is nothing', () => {
    for (const content of [Buffer.alloc(0), Buffer.from('a'), text, Buffer.alloc(200_000, 'abc')])
      for (const flushed of [true, false])
        assert.deepEqual(inflateRawSync(referenceDeflate(content, { flushed })), content);
  });
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { explicit, implicit, NULL, octets, seq } from '../../../../src/lib/asn1/encode-der.ts';
import { parsePeImageData, peImageData } from '../../../../src/engine/formats/pe/image-data.ts';

describe('SpcPeImageData', () => {
  it('is parsed as osslsigncode writes it, and as signtool does: no flags, an empty name', () => {
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

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { crc32c } from '../../../src/lib/bytes/crc32c.ts';

describe('crc32c', () => {
  // RFC 3720, B.4, whose octets are in the order of transmission.
  const examples: [string, Buffer, number][] = [
    ['32 bytes of zeros', Buffer.alloc(32), 0x8a9136aa],
    ['32 bytes of ones', Buffer.alloc(32, 0xff), 0x62a8ab43],
    ['32 rising bytes', Buffer.from(Array.from({ length: 32 }, (_, i) => i)), 0x46dd794e],
    ['no bytes', Buffer.alloc(0), 0],
    ['the digits 1 to 9', Buffer.from('123456789'), 0xe3069283],
  ];
  for (const [what, bytes, crc] of examples) it(`of ${what}`, () => assert.equal(crc32c(bytes), crc));
});

/** Looking for names in the directory of a zip, without reading it as a zip. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { BufferSource } from '../../../src/lib/bytes/byte-source.ts';
import { scanNames } from '../../../src/lib/zip/scan-names.ts';
import { forge } from './zips.ts';

const scan = async (bytes: Buffer, pattern: RegExp): Promise<string[]> => [
  ...(await scanNames(new BufferSource(bytes, 'a.zip'), pattern)),
];

describe('names in the directory of a zip', () => {
  const zip = forge(['A.XML', 'b/c.xml', 'b\\D.xml', 'e.txt'].map((name) => ({ name })));

  it('are found whatever their case and slashes', async () => {
    assert.deepEqual(await scan(zip, /\.xml$/), ['a.xml', 'b/c.xml', 'b/d.xml']);
    assert.deepEqual(await scan(zip, /\.exe$/), []);
  });

  it('are found up to the first fault', async () => {
    const broken = Buffer.from(zip);
    broken.write('XX', broken.indexOf('b\\D.xml', broken.indexOf('PK\x01\x02')) - 46);
    assert.deepEqual(await scan(broken, /\.xml$/), ['a.xml', 'b/c.xml']);
  });

  it('are none in what is no zip, or ends early', async () => {
    for (const bytes of [Buffer.alloc(0), Buffer.from('text'), zip.subarray(0, -30), zip.subarray(9)])
      assert.deepEqual(await scan(bytes, /./), []);
  });

  it('are found quickly among 20,000', async () => {
    const many = forge(Array.from({ length: 20_000 }, (_, at) => ({ name: `files/${at}.dll`, method: 0 })));
    const start = performance.now();
    assert.deepEqual(await scan(many, /^(?:a|b|c)\.xml$/), []);
    assert.ok(performance.now() - start < 500);
  });
});

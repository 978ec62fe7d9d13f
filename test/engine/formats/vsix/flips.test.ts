import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import type { TestPki } from '../../../../src/sandbox/certificates.ts';
import { contentsOf, faultsOf, newPki, open, pack, sign } from './vsix-tools.ts';

/** All bytes take 20 s. All were tried; a run of the tests tries one in 29. */
const STEP = process.env['SIGNPIPE_FLIP_ALL'] ? 1 : 29;

let pki: TestPki;
let signed: Buffer;
before(async () => {
  pki = await newPki();
  signed = await sign(pki);
});

/** With roots, since without them the bytes of certificates are not checked. */
const isMissed = async (bytes: Buffer): Promise<boolean> => (await faultsOf(bytes, pki)).length === 0;

const flipped = (bytes: Buffer, at: number): Buffer => {
  const changed = Buffer.from(bytes);
  changed.writeUInt8((bytes[at] ?? 0) ^ (1 << (at % 8)), at);
  return changed;
};

describe('a changed byte of a signed extension is noticed', () => {
  it('in the zip around its parts', async () => {
    const first = signed.indexOf('extension.vsixmanifest') + 22;
    const missed: number[] = [];
    for (let at = 0; at < signed.length; at += at < first || at > signed.length - 700 ? 1 : STEP)
      if (await isMissed(flipped(signed, at))) missed.push(at);
    // The bits behind the end of a deflated stream, in its last byte, and two attributes of
    // files: MS-DOS's archive bit, and whether it is text.
    const { archive } = (await open(signed)).content;
    const ends = archive.entries.filter(({ method }) => method === 8).map(({ dataEnd }) => dataEnd - 1);
    const headers = archive.entries.map(({ central }) => signed.indexOf(central));
    const isAttribute = (at: number): boolean =>
      (headers.includes(at - 36) && at % 8 === 0) || (headers.includes(at - 38) && at % 8 === 5);
    assert.deepEqual(
      missed.filter((at) => !ends.includes(at) && !isAttribute(at)),
      [],
    );
  });

  it('in each part, though the zip has its CRC-32', async () => {
    const contents = await contentsOf(signed);
    const missed: string[] = [];
    for (const [path, content] of contents)
      for (let at = 0; at < content.length; at += STEP)
        if (await isMissed(pack(new Map(contents).set(path, flipped(content, at)))))
          missed.push(`${path} ${at}`);
    assert.deepEqual(missed, []);
  });
});

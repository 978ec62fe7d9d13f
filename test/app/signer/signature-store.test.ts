import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { sha256Hex } from '../../../src/lib/bytes/hash.ts';
import {
  readSignatures,
  signatureOf,
  signaturesFile,
  writeSignatures,
} from '../../../src/app/signer/signature-store.ts';
import { temporaryFolder } from '../../lib/zip/zips.ts';

const folder = await temporaryFolder();
const MADE = new Map(
  [0, 1, 10, 70_000].map((length): [string, Buffer] => [sha256Hex(`${length}`), randomBytes(length)]),
);

describe('the signatures made for a request', () => {
  it('are read as they were written', async () => {
    await writeSignatures(folder, MADE);
    assert.deepEqual(await readSignatures(folder), MADE);
    await writeSignatures(folder, new Map());
    assert.deepEqual(await readSignatures(folder), new Map());
  });

  const faults: readonly [string, (path: string) => Promise<void>][] = [
    ['the file is gone', (path) => rm(path)],
    ['it is cut short', (path) => truncate(path, 70_000)],
    ['it is empty', (path) => truncate(path, 0)],
    ['something follows', async (path) => writeFile(path, `${await readFile(path, 'latin1')}x`, 'latin1')],
  ];
  for (const [what, harm] of faults)
    it(`work-missing: ${what}`, async () => {
      await writeSignatures(folder, MADE);
      await harm(signaturesFile(folder));
      await assert.rejects(readSignatures(folder), { code: 'work-missing', kind: 'local' });
    });

  it('work-missing: there is none for the program', () => {
    assert.throws(() => signatureOf(MADE, '0'.repeat(64)), { code: 'work-missing' });
    const [first] = MADE;
    assert(first);
    assert.equal(signatureOf(MADE, first[0]), first[1]);
  });
});

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { sha256Hex } from '../../../../src/lib/bytes/hash.ts';
import {
  blobOf,
  blobStores,
  pickBlobs,
  readBlobs,
  signatureStore,
  writeBlobs,
} from '../../../../src/app/signer/state/blob-store.ts';
import { temporaryFolder } from '../../../lib/zip/zips.ts';

const folder = await temporaryFolder();
const REQUEST = 'a'.repeat(40);
const blobsNamed = (ending: string): Map<string, Buffer> =>
  new Map(
    [0, 1, 10, 70_000].map((length): [string, Buffer] => [
      `${sha256Hex(`${length}`)}${ending}`,
      randomBytes(length),
    ]),
  );

for (const store of blobStores(folder, REQUEST))
  describe(`the ${store.what} made for a request`, () => {
    const MADE = blobsNamed(store.ending);

    it('are read as they were written', async () => {
      await writeBlobs(store, MADE);
      assert.deepEqual(await readBlobs(store), MADE);
      await writeBlobs(store, new Map());
      assert.deepEqual(await readBlobs(store), new Map());
    });

    const faults: readonly [string, (path: string) => Promise<void>][] = [
      ['the file is gone', (path) => rm(path)],
      ['it is cut short', (path) => truncate(path, 70_000)],
      ['it is empty', (path) => truncate(path, 0)],
      ['something follows', async (path) => writeFile(path, `${await readFile(path, 'latin1')}x`, 'latin1')],
    ];
    for (const [what, harm] of faults)
      it(`work-missing: ${what}`, async () => {
        await writeBlobs(store, MADE);
        await harm(store.file);
        await assert.rejects(readBlobs(store), { code: 'work-missing', kind: 'local' });
      });

    it('work-missing: there is none with the name', () => {
      assert.throws(() => blobOf(store, MADE, '0'.repeat(64)), { code: 'work-missing' });
      const [first] = MADE;
      assert(first);
      assert.equal(blobOf(store, MADE, first[0]), first[1]);
    });

    it('are not needed if none is asked for', async () => {
      await rm(store.file, { force: true });
      assert.deepEqual(await pickBlobs(store, []), new Map());
    });
  });

describe('the signatures that an earlier version wrote, all of which were PKCS #7', () => {
  it('have the names that the receipt gives them', async () => {
    const store = signatureStore(folder, REQUEST);
    const bare = blobsNamed('');
    await writeBlobs(store, bare);
    const names = [...bare.keys()].map((name) => `${name}.p7`);
    assert.deepEqual([...(await pickBlobs(store, names)).values()], [...bare.values()]);
  });
});

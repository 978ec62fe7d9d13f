import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Journal, type JournalRecord } from '../../../src/app/signer/journal.ts';

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'signpipe-journal-'));
});
after(() => rm(folder, { recursive: true, force: true }));

const record = (digit: string): JournalRecord => ({
  version: 1,
  request: digit.repeat(40),
  stage: 'begun',
  outputs: [],
});
const file = (): string => join(folder, 'journal.json');

describe('the journal', () => {
  it('tells the record in hand, and none once it is cleared', async () => {
    const journal = await Journal.open(folder);
    assert.equal(await journal.read(), null);
    for (const digit of ['a', 'b']) {
      await journal.write(record(digit));
      assert.deepEqual(await journal.read(), record(digit));
      assert.deepEqual(await (await Journal.open(folder)).read(), record(digit));
      await journal.clear();
      assert.equal(await journal.read(), null);
      assert.deepEqual(await readdir(folder), []);
    }
  });

  it('does not look again where it knows that there is none: only it writes one', async () => {
    const journal = await Journal.open(folder);
    assert.equal(await journal.read(), null);
    await writeFile(file(), 'not looked at');
    assert.equal(await journal.read(), null);
    await rm(file());
  });

  it('looks again while a record is in hand: a person may have moved it away', async () => {
    const journal = await Journal.open(folder);
    await journal.write(record('c'));
    await rm(file());
    assert.equal(await journal.read(), null);
  });

  it('journal-damaged, at every look', async () => {
    await writeFile(file(), '{"version":1,');
    const journal = await Journal.open(folder);
    for (const _ of [1, 2]) await assert.rejects(journal.read(), { code: 'journal-damaged' });
  });
});

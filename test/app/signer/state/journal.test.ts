import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { blobStores, signatureStore, writeBlobs } from '../../../../src/app/signer/state/blob-store.ts';
import {
  Journal,
  type AnsweredRecord,
  type JournalRecord,
} from '../../../../src/app/signer/state/journal.ts';

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'signpipe-journal-'));
});
after(() => rm(folder, { recursive: true, force: true }));

interface Version1Output {
  name: string;
  path?: string;
  file?: string;
  size: number;
  sha256: string;
  temporary: string;
  assembly?: { source: object; spans: object[]; whole?: { unsigned: string; sha256: string } };
}

const record = (digit: string): JournalRecord => ({ request: digit.repeat(40), stage: 'begun' });
const file = (): string => join(folder, 'journal.json');

const earlierRecords = async (): Promise<Record<string, unknown>> =>
  JSON.parse(
    await readFile(new URL('../../../fixtures/journal-version-1.json', import.meta.url), 'utf8'),
  ) as Record<string, unknown>;

async function answered(digit: string): Promise<AnsweredRecord> {
  const { receipt } = (await earlierRecords())['answered'] as AnsweredRecord;
  const request = digit.repeat(40);
  return {
    request,
    stage: 'answered',
    receipt: { ...receipt, request: { ...receipt.request, id: request } },
    since: null,
  };
}

describe('the journal', () => {
  it('returns its records, and none once they are removed', async () => {
    const journal = await Journal.open(folder);
    assert.deepEqual(await journal.read(), []);
    for (const digit of ['a', 'b']) {
      await journal.write(record(digit));
      assert.deepEqual(await journal.read(), [record(digit)]);
      assert.deepEqual(await (await Journal.open(folder)).read(), [record(digit)]);
      await journal.remove([digit.repeat(40)]);
      assert.deepEqual(await journal.read(), []);
      assert.deepEqual(await readdir(folder), []);
    }
  });

  it('holds several, in the order in which their receipts follow; one that is only begun comes last', async () => {
    const journal = await Journal.open(folder);
    const [one, two, begun] = [await answered('1'), await answered('2'), record('3')];
    await Promise.all([
      journal.write(begun),
      journal.write(one),
      journal.write(record('2')),
      journal.write(two),
    ]);
    assert.deepEqual(await journal.read(), [one, two, begun]);
    await writeBlobs(signatureStore(folder, two.request), new Map());
    await writeBlobs(signatureStore(folder, one.request), new Map());
    await journal.remove([one.request]);
    assert.deepEqual(await (await Journal.open(folder)).read(), [two, begun]);
    assert.deepEqual((await readdir(folder)).sort(), [`journal.${two.request}.signatures`, 'journal.json']);
    await journal.remove([two.request, begun.request]);
    assert.deepEqual(await readdir(folder), []);
  });

  it('removes what belongs to no record: a crash came between a record and its files', async () => {
    for (const each of blobStores(folder, '4'.repeat(40))) await writeBlobs(each, new Map());
    await writeFile(join(folder, 'journal.signatures'), '');
    assert.deepEqual(await (await Journal.open(folder)).read(), []);
    assert.deepEqual(await readdir(folder), []);
  });

  it('keeps what it had if a write fails', async () => {
    const journal = await Journal.open(folder);
    await journal.write(record('5'));
    await chmod(folder, 0o500);
    // Root may write anywhere: a folder in the place of the file stops a rename, too.
    await rename(file(), join(folder, 'aside')).catch(() => {});
    await mkdir(file(), { recursive: true }).catch(() => {});
    await writeFile(join(file(), 'x'), '').catch(() => {});
    await assert.rejects(journal.write(record('6')));
    await rm(file(), { recursive: true });
    await chmod(folder, 0o700);
    await rename(join(folder, 'aside'), file());
    await journal.write(record('7'));
    assert.deepEqual(await journal.read(), [record('5'), record('7')]);
    await journal.remove(['5'.repeat(40), '7'.repeat(40)]);
  });

  it('does not read the file again once there is none: only this process writes one', async () => {
    const journal = await Journal.open(folder);
    assert.deepEqual(await journal.read(), []);
    await writeFile(file(), 'not read');
    assert.deepEqual(await journal.read(), []);
    await rm(file());
  });

  it('reads the file again while a request is in hand: a person may have moved it away', async () => {
    const journal = await Journal.open(folder);
    await journal.write(record('c'));
    await rm(file());
    assert.deepEqual(await journal.read(), []);
  });

  it('reads records of earlier signers, which did not name the delivery mode', async () => {
    const earlier = (await earlierRecords()) as Record<
      string,
      { request: string; receipt: object; since?: string; outputs: Version1Output[] }
    >;
    const read = async (name: string): Promise<readonly JournalRecord[]> => {
      await writeFile(file(), JSON.stringify(earlier[name]));
      return (await Journal.open(folder)).read();
    };
    for (const mode of ['file', 'delta', 'sparse']) {
      const { request, receipt, outputs: [output] = [] } = earlier[mode] ?? {};
      assert(output);
      const { name, path = name, size, temporary, sha256, file: inWork, assembly } = output;
      const place = { mode, name, path, size, temporary };
      const newBytes = { ...(inWork !== undefined && { file: inWork }), sha256 };
      const { whole, source, spans } = assembly ?? {};
      const expected = {
        file: { ...place, file: inWork, sha256 },
        delta: {
          ...place,
          sha256: whole?.sha256,
          unsigned: { file: whole?.unsigned, ...source },
          newBytes,
          spans,
        },
        sparse: { ...place, unsigned: source, newBytes, spans },
      }[mode];
      assert.deepEqual(await read(mode), [{ request, stage: 'signed', receipt, outputs: [expected] }], mode);
    }
    const { outputs: _, ...answered } = earlier['answered'] ?? {};
    const { version: _version, ...rest } = answered as typeof answered & { version: number };
    assert.deepEqual(await read('answered'), [rest]);
    for (const version of [1, 2]) {
      await writeFile(
        file(),
        JSON.stringify({ ...record('d'), version, ...(version === 1 && { outputs: [] }) }),
      );
      assert.deepEqual(await (await Journal.open(folder)).read(), [record('d')]);
    }
  });

  it('brings the files of an earlier journal to the names that they have now', async () => {
    await writeFile(file(), JSON.stringify({ ...record('e'), version: 2 }));
    for (const what of ['signatures', 'attachments']) await writeFile(join(folder, `journal.${what}`), what);
    await (await Journal.open(folder)).read();
    for (const each of blobStores(folder, 'e'.repeat(40)))
      assert.equal(await readFile(each.file, 'utf8'), each.what);
    assert.match(await readFile(file(), 'utf8'), /^\{"version":3,/);
  });

  it('journal-damaged, each time it is read', async () => {
    await writeFile(file(), '{"version":1,');
    const journal = await Journal.open(folder);
    for (const _ of [1, 2]) await assert.rejects(journal.read(), { code: 'journal-damaged' });
  });
});

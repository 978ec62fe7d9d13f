import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Journal, type JournalRecord } from '../../../../src/app/signer/state/journal.ts';

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

const record = (digit: string): JournalRecord => ({
  version: 2,
  request: digit.repeat(40),
  stage: 'begun',
});
const file = (): string => join(folder, 'journal.json');

describe('the journal', () => {
  it('returns the current record, and null once it is cleared', async () => {
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

  it('does not read the file again once there is none: only this process writes one', async () => {
    const journal = await Journal.open(folder);
    assert.equal(await journal.read(), null);
    await writeFile(file(), 'not read');
    assert.equal(await journal.read(), null);
    await rm(file());
  });

  it('reads the file again while a request is under way: a person may have moved it away', async () => {
    const journal = await Journal.open(folder);
    await journal.write(record('c'));
    await rm(file());
    assert.equal(await journal.read(), null);
  });

  it('reads records of earlier signers, which did not name the delivery mode', async () => {
    const earlier = JSON.parse(
      await readFile(new URL('../../../fixtures/journal-version-1.json', import.meta.url), 'utf8'),
    ) as Record<string, { request: string; receipt: object; since?: string; outputs: Version1Output[] }>;
    const read = async (name: string): Promise<JournalRecord | null> => {
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
      const signed = { version: 2, request, stage: 'signed', receipt, outputs: [expected] };
      assert.deepEqual(await read(mode), signed, mode);
    }
    const { outputs: _, ...answered } = earlier['answered'] ?? {};
    assert.deepEqual(await read('answered'), { ...answered, version: 2 });
    await writeFile(file(), JSON.stringify({ ...record('d'), version: 1, outputs: [] }));
    assert.deepEqual(await (await Journal.open(folder)).read(), record('d'));
  });

  it('journal-damaged, each time it is read', async () => {
    await writeFile(file(), '{"version":1,');
    const journal = await Journal.open(folder);
    for (const _ of [1, 2]) await assert.rejects(journal.read(), { code: 'journal-damaged' });
  });
});

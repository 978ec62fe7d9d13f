/** Broken databases: each is refused with a named error when the files in the package are asked for. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { openMsi } from '../../../../src/engine/formats/msi/msi-file.ts';
import { encodeStreamName } from '../../../../src/engine/formats/msi/stream-names.ts';
import { isInvalid } from '../../../../src/lib/errors.ts';
import { DEFAULT_LIMITS } from '../../../../src/lib/zip/limits.ts';
import { cabOf } from '../../../fixtures/cab.ts';
import type { MadeStream } from '../../../lib/compound-file/make-compound-file.ts';
import { source } from '../../authenticode/tools.ts';
import {
  fileTable,
  hashTable,
  makeDatabase,
  makePackage,
  mediaTable,
  stream,
  type MadeTable,
} from './make-database.ts';

const TABLES = {
  File: fileTable([['one', 'c', 'one.exe', 3, null, 1]]),
  Media: mediaTable([[1, 1, '#one.cab']]),
  MsiFileHash: hashTable([['one', 0, 1, 2, 3, 4]]),
};
const CAB = stream('one.cab', cabOf('one', Buffer.from('one')));

type Edit = (bytes: Buffer) => Buffer | void;

/** The sound package with one stream of its database changed; left out if the edit returns nothing to keep. */
function edited(table: string, edit: Edit, tables: Record<string, MadeTable> = TABLES): Buffer {
  const name = encodeStreamName(table, { table: true });
  const change = (each: MadeStream): MadeStream => {
    if (each.name !== name) return each;
    const content = Buffer.from(each.content);
    return { ...each, content: edit(content) ?? content };
  };
  return makePackage([...makeDatabase(tables).map(change), CAB]);
}

const u16 =
  (at: number, value: number): Edit =>
  (bytes) =>
    void bytes.writeUInt16LE(value, at);
const cut =
  (by: number): Edit =>
  (bytes) =>
    bytes.subarray(0, bytes.length - by);
const longer =
  (by: number): Edit =>
  (bytes) =>
    Buffer.concat([bytes, Buffer.alloc(by, 1)]);
const withFile = (...rows: MadeTable['rows']): Buffer =>
  makePackage([...makeDatabase({ ...TABLES, File: fileTable(rows) }), CAB]);
const withColumns = (columns: MadeTable['columns']): Buffer =>
  makePackage([
    ...makeDatabase({ ...TABLES, File: { columns, rows: [['one', 'c', 'one.exe', 3, 1]] } }),
    CAB,
  ]);

const corrupt = 'msi-database-corrupt';
const BROKEN: [code: string, what: string, bytes: Buffer][] = [
  [corrupt, 'an empty pool of strings', edited('_StringPool', () => Buffer.alloc(0))],
  [corrupt, 'a pool that ends inside an entry', edited('_StringPool', cut(1))],
  [corrupt, 'a pool of one entry less', edited('_StringPool', cut(4))],
  [corrupt, 'a pool of one entry more', edited('_StringPool', longer(4))],
  [corrupt, 'a pool with a longer string', edited('_StringPool', u16(4, 500))],
  [
    corrupt,
    'a pool with a string of 4 GiB',
    edited('_StringPool', (bytes) => bytes.fill(0, 4, 6).fill(0xff, 8, 12)),
  ],
  [
    corrupt,
    'a pool that ends inside a long string',
    edited('_StringPool', (bytes) => Buffer.concat([bytes, Buffer.of(0, 0, 1, 0)])),
  ],
  [corrupt, 'longer references than the tables have', edited('_StringPool', u16(2, 0x8000))],
  [corrupt, 'no strings', edited('_StringData', () => Buffer.alloc(0))],
  [corrupt, 'strings that are cut off', edited('_StringData', cut(1))],
  [corrupt, 'strings with bytes behind them', edited('_StringData', longer(1))],
  [corrupt, 'half a row in _Columns', edited('_Columns', cut(1))],
  [corrupt, 'one row less in _Columns, whose columns then mix', edited('_Columns', cut(8))],
  [corrupt, 'columns of a missing name', edited('_Columns', (bytes) => bytes.fill(0xff))],
  [
    corrupt,
    'a column of an unknown type',
    edited('_Columns', (bytes) => void bytes.writeUInt16LE(0x8103, bytes.length - 2)),
  ],
  [
    corrupt,
    'a column number twice',
    edited('_Columns', (bytes) => void bytes.fill(bytes.subarray(30, 32), 30, 34)),
  ],
  [
    corrupt,
    'no column 1',
    edited('_Columns', (bytes) => void bytes.writeUInt16LE(0x8009, (bytes.length / 8) * 2)),
  ],
  [corrupt, 'half a row in File', edited('File', cut(1))],
  [corrupt, 'a byte more in File', edited('File', longer(1))],
  [corrupt, 'a key that is a missing string', edited('File', u16(0, 0xfff0))],
  [corrupt, 'a name that is a missing string', edited('File', u16(4, 0xfff0))],
  [corrupt, 'half a row in Media', edited('Media', cut(1))],
  [corrupt, 'a cabinet that is a missing string', edited('Media', u16(4, 0xfff0))],
  [corrupt, 'half a row in MsiFileHash', edited('MsiFileHash', cut(3))],
  [corrupt, 'a hash of a missing string', edited('MsiFileHash', u16(0, 0xfff0))],
  [
    corrupt,
    'two files of one key',
    withFile(['one', 'c', 'one.exe', 3, null, 1], ['one', 'c', 'two.exe', 3, null, 1]),
  ],
  [
    corrupt,
    'a table File without keys',
    withColumns({ X: 's', Component_: 's', FileName: 's', FileSize: 'i4', Sequence: 'i2' }),
  ],
  [
    corrupt,
    'a table File without names',
    withColumns({ File: 's', Component_: 's', X: 's', FileSize: 'i4', Sequence: 'i2' }),
  ],
  [
    corrupt,
    'a table File with a number for a name',
    withColumns({ File: 's', Component_: 's', FileName: 'i4', FileSize: 's', Sequence: 'i2' }),
  ],
  [
    corrupt,
    'a table File without sequence',
    withColumns({ File: 's', Component_: 's', FileName: 's', FileSize: 'i4', X: 'i2' }),
  ],
  ['msi-path-unsafe', 'a file with an empty name', withFile(['one', 'c', '', 3, null, 1])],
  ['msi-path-unsafe', 'a file with a name that climbs', withFile(['one', 'c', 'ONE|..', 3, null, 1])],
  ['msi-path-unsafe', 'a file with an empty key', withFile(['', 'c', 'one.exe', 3, null, 1])],
  [
    'msi-path-duplicate',
    'a key in two cabinets',
    makePackage([...makeDatabase(TABLES), CAB, { ...CAB, name: 'one.cab' }]),
  ],
  [
    'cab-corrupt',
    'a broken cabinet',
    makePackage([...makeDatabase(TABLES), stream('one.cab', CAB.content.subarray(0, -1))]),
  ],
];

const membersOf = async (bytes: Buffer): Promise<readonly unknown[]> =>
  (await (await openMsi(source(bytes, 'setup.msi'))).container(DEFAULT_LIMITS))?.members ?? [];

describe('a package with a broken database', () => {
  for (const [code, what, bytes] of BROKEN)
    it(`${code}: ${what}`, () => assert.rejects(membersOf(bytes), { code }));

  it('msi-database-corrupt: FileSize of two bytes, when a file is replaced', async () => {
    const bytes = withColumns({ File: 's', Component_: 's', FileName: 's', FileSize: 'i2', Sequence: 'i2' });
    const container = await (await openMsi(source(bytes))).container(DEFAULT_LIMITS);
    const replaced = container?.replace(new Map([['one/one.exe', source(Buffer.of(1))]]));
    await assert.rejects(replaced ?? assert.fail(), { code: 'msi-database-corrupt' });
  });

  it('is refused or read, whichever byte of its tables is changed', async () => {
    for (const table of ['_StringPool', '_Columns', 'File', 'Media'])
      for (let at = 0, end = 200; at < end; at += 1) {
        const bytes = edited(table, (content) => {
          end = content.length;
          content.writeUInt8((content[at] ?? 0) ^ 0x81, at);
        });
        await membersOf(bytes).catch((error: unknown) => assert(isInvalid(error), String(error)));
      }
  });

  it('is sound without these changes; without a database, only its cabinets show', async () => {
    assert.deepEqual(await membersOf(edited('File', () => {})), [{ path: 'one/one.exe', size: 3 }]);
    assert.deepEqual(await membersOf(makePackage([CAB])), [
      { path: 'one.cab/one', size: 3, fixed: 'is in a patch or a transform' },
    ]);
  });
});

/** The tables of an MSI database as streams, for tests; written from msitools' and Wine's reading of the format. */
import { encodeStreamName } from '../../../../src/engine/formats/msi/stream-names.ts';
import {
  makeCompoundFile,
  ROOT_CLSID,
  type MadeFile,
  type MadeStream,
} from '../../../lib/compound-file/make-compound-file.ts';

/** A column's name, and its type: `s` a string, `i2` and `i4` integers. */
type Columns = Readonly<Record<string, 's' | 'i2' | 'i4'>>;
type Value = string | number | null;

export interface MadeTable {
  readonly columns: Columns;
  readonly rows: readonly (readonly Value[])[];
}

const TYPES = { s: 0x0d48, i2: 0x0502, i4: 0x0104 };

/** Strings by number, from 1. */
class Strings {
  readonly all: string[] = [];
  constructor(readonly width: 2 | 3) {}

  reference(text: string): number {
    if (text === '') return 0;
    const at = this.all.indexOf(text);
    return at >= 0 ? at + 1 : this.all.push(text);
  }

  streams(codePage: number): MadeStream[] {
    const entry = (low: number, high: number): Buffer => {
      const bytes = Buffer.alloc(4);
      bytes.writeUInt16LE(low, 0);
      bytes.writeUInt16LE(high, 2);
      return bytes;
    };
    const texts = this.all.map((text) => Buffer.from(text, codePage === 65_001 ? 'utf8' : 'latin1'));
    const lengths = texts.map(({ length }) =>
      length < 0x10000
        ? entry(length, 1)
        : Buffer.concat([entry(0, 1), entry(length & 0xffff, length >>> 16)]),
    );
    return [
      table('_StringPool', Buffer.concat([entry(codePage, this.width === 3 ? 0x8000 : 0), ...lengths])),
      table('_StringData', Buffer.concat(texts)),
    ];
  }
}

const table = (name: string, content: Buffer): MadeStream => ({
  name: encodeStreamName(name, { table: true }),
  content,
});

function value(type: 's' | 'i2' | 'i4', of: Value, strings: Strings): Buffer {
  const bytes = Buffer.alloc(type === 's' ? strings.width : type === 'i2' ? 2 : 4);
  if (of === null) return bytes;
  if (type === 's') bytes.writeUIntLE(strings.reference(String(of)), 0, bytes.length);
  else if (type === 'i2') bytes.writeUInt16LE((Number(of) + 0x8000) & 0xffff);
  else bytes.writeUInt32LE((Number(of) ^ 0x80000000) >>> 0);
  return bytes;
}

const rowsOf = ({ columns, rows }: MadeTable, strings: Strings): Buffer =>
  Buffer.concat(
    Object.values(columns).flatMap((type, index) =>
      rows.map((row) => value(type, row[index] ?? null, strings)),
    ),
  );

/** The streams of a database. */
export function makeDatabase(
  tables: Readonly<Record<string, MadeTable>>,
  { width = 2, codePage = 1252 }: { width?: 2 | 3; codePage?: number } = {},
): MadeStream[] {
  const strings = new Strings(width);
  const columns: MadeTable = {
    columns: { Table: 's', Number: 'i2', Name: 's', Type: 'i2' },
    rows: Object.entries(tables).flatMap(([name, each]) =>
      Object.entries(each.columns).map(([column, type], index) => [name, index + 1, column, TYPES[type]]),
    ),
  };
  const streams = Object.entries({ _Columns: columns, ...tables }).map(([name, each]) =>
    table(name, rowsOf(each, strings)),
  );
  return [...strings.streams(codePage), ...streams];
}

export const fileTable = (rows: MadeTable['rows']): MadeTable => ({
  columns: { File: 's', Component_: 's', FileName: 's', FileSize: 'i4', Version: 's', Sequence: 'i2' },
  rows,
});

export const mediaTable = (rows: MadeTable['rows']): MadeTable => ({
  columns: { DiskId: 'i2', LastSequence: 'i2', Cabinet: 's' },
  rows,
});

export const hashTable = (rows: MadeTable['rows']): MadeTable => ({
  columns: { File_: 's', Options: 'i2', HashPart1: 'i4', HashPart2: 'i4', HashPart3: 'i4', HashPart4: 'i4' },
  rows,
});

export const stream = (name: string, content: Buffer): MadeStream => ({
  name: encodeStreamName(name),
  content,
});

/** A package with these streams. */
export const makePackage = (children: MadeFile['root']['children'], clsid: string = ROOT_CLSID.msi): Buffer =>
  makeCompoundFile({ version: 3, root: { clsid, children } });

import type { ByteSource } from '../../../../lib/bytes/byte-source.ts';
import type { CompoundFile } from '../../../../lib/compound-file/compound-file.ts';
import { encodeStreamName } from '../stream-names.ts';
import { corruptDatabase, StringPool } from './string-pool.ts';
import { columnOf, Table, type Column } from './table.ts';

/** The most bytes of a table that is read. */
const LARGEST_TABLE = 64 * 1024 * 1024;

/** The database of a package, without its rows. */
export interface Database {
  /** The name of the table's stream, as it is stored. */
  streamName(table: string): string;
  /** Reads a table; null if there is none. */
  table(name: string): Promise<Table | null>;
}

/** Opens the database in the root of a compound file; null if there is none. Throws `msi-database-corrupt`. */
export async function openDatabase(file: CompoundFile): Promise<Database | null> {
  const { name } = file.source;
  const open = (table: string): ByteSource | null => streamOf(file, table);
  const [pool, data, columns] = [open('_StringPool'), open('_StringData'), open('_Columns')];
  if (!pool || !data || !columns) return null;
  const strings = await StringPool.read(pool, data);
  const columnsOf = readColumns(
    await readTable('_Columns', columns, COLUMNS(strings), strings, name),
    strings,
    name,
  );
  return {
    streamName: (table) => encodeStreamName(table, { table: true }),
    table: async (table) => {
      const [stream, known] = [open(table), columnsOf.get(table)];
      return stream && known ? readTable(table, stream, known, strings, name) : null;
    },
  };
}

function streamOf(file: CompoundFile, table: string): ByteSource | null {
  const name = encodeStreamName(table, { table: true });
  const entry = file.root.children.find((each) => each.name === name);
  return entry?.kind === 'stream' ? file.openStream(entry) : null;
}

/** The columns of _Columns itself. */
const COLUMNS = ({ referenceSize }: StringPool): Column[] => [
  { name: 'Table', kind: 'string', width: referenceSize },
  { name: 'Number', kind: 'integer', width: 2 },
  { name: 'Name', kind: 'string', width: referenceSize },
  { name: 'Type', kind: 'integer', width: 2 },
];

async function readTable(
  table: string,
  stream: ByteSource,
  columns: readonly Column[],
  strings: StringPool,
  file: string,
): Promise<Table> {
  if (stream.size > LARGEST_TABLE) throw corruptDatabase(file, `table ${table} has ${stream.size} bytes`);
  // A copy, since its values are changed.
  const bytes = Buffer.from(await stream.read(0, stream.size));
  return new Table(table, bytes, columns, strings, file);
}

/** The columns of all tables, in their order; the rows of _Columns may come in any. */
function readColumns(rows: Table, strings: StringPool, file: string): Map<string, Column[]> {
  const tables = new Map<string, Map<number, Column>>();
  for (let row = 0; row < rows.rowCount; row += 1) {
    const [table, number] = [rows.text(row, 'Table'), rows.integer(row, 'Number') ?? 0];
    const columns = tables.get(table) ?? new Map<number, Column>();
    tables.set(table, columns);
    if (columns.has(number)) throw corruptDatabase(file, `table ${table} has two columns ${number}`);
    const type = (rows.integer(row, 'Type') ?? 0) & 0xffff;
    columns.set(number, columnOf(rows.text(row, 'Name'), type, strings, file));
  }
  return new Map([...tables].map(([table, columns]) => [table, inOrder(table, columns, file)]));
}

function inOrder(table: string, columns: ReadonlyMap<number, Column>, file: string): Column[] {
  return Array.from({ length: columns.size }, (_, index) => {
    const column = columns.get(index + 1);
    if (!column) throw corruptDatabase(file, `table ${table} has no column ${index + 1}`);
    return column;
  });
}

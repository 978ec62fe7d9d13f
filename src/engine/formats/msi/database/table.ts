import { corruptDatabase, type StringPool } from './string-pool.ts';

/*
 * A table is a stream: all values of its first column, then all of the second, and so on. Strings are references to the pool;
 * integers have 2 or 4 bytes and are stored with their highest bit inverted, so that 0 means that there is none.
 */

/** Bits of a column's type in _Columns. */
const TYPE = { valid: 0x0100, string: 0x0800, nullable: 0x1000 } as const;

export interface Column {
  readonly name: string;
  readonly kind: 'string' | 'integer' | 'stream';
  /** Bytes of a value. */
  readonly width: number;
}

/** A column from its type in _Columns, without the highest bit that integers have. */
export function columnOf(name: string, type: number, pool: StringPool, file: string): Column {
  if ((type & ~TYPE.nullable & 0xffff) === (TYPE.string | TYPE.valid))
    return { name, kind: 'stream', width: 2 };
  if ((type & TYPE.string) !== 0) return { name, kind: 'string', width: pool.referenceSize };
  const size = type & 0xff;
  if (size === 1 || size === 2) return { name, kind: 'integer', width: 2 };
  if (size === 4) return { name, kind: 'integer', width: 4 };
  throw corruptDatabase(file, `a column of type 0x${type.toString(16)}`);
}

/** The rows of a table in memory. Integers can be changed; `bytes` is then the changed stream. */
export class Table {
  readonly rowCount: number;
  private readonly places = new Map<string, { readonly column: Column; readonly before: number }>();

  constructor(
    readonly name: string,
    readonly bytes: Buffer,
    columns: readonly Column[],
    private readonly pool: StringPool,
    private readonly file: string,
  ) {
    let rowSize = 0;
    for (const column of columns) {
      this.places.set(column.name, { column, before: rowSize });
      rowSize += column.width;
    }
    if (rowSize === 0 || bytes.length % rowSize !== 0)
      throw corruptDatabase(file, `table ${name} has ${bytes.length} bytes, and rows of ${rowSize}`);
    this.rowCount = bytes.length / rowSize;
  }

  has(column: string): boolean {
    return this.places.has(column);
  }

  /** A value; the empty string if there is none. */
  text(row: number, name: string): string {
    const { at, column } = this.place(row, name, 'string');
    const value = this.pool.get(this.bytes.readUIntLE(at, column.width));
    if (value === undefined) throw corruptDatabase(this.file, `table ${this.name} names a missing string`);
    return value;
  }

  /** A value; null if there is none. */
  integer(row: number, name: string): number | null {
    const { at, column } = this.place(row, name, 'integer');
    const stored = this.bytes.readUIntLE(at, column.width);
    if (stored === 0) return null;
    return column.width === 2 ? stored - 0x8000 : (stored ^ 0x80000000) | 0;
  }

  /** Changes a value of four bytes. */
  setInteger(row: number, name: string, value: number): void {
    const { at, column } = this.place(row, name, 'integer');
    if (column.width !== 4)
      throw corruptDatabase(this.file, `${this.name}.${name} has ${column.width} bytes`);
    this.bytes.writeUInt32LE((value ^ 0x80000000) >>> 0, at);
  }

  private place(row: number, name: string, kind: Column['kind']): { at: number; column: Column } {
    const place = this.places.get(name);
    if (place?.column.kind !== kind)
      throw corruptDatabase(this.file, `table ${this.name} has no column ${name}, or one of another kind`);
    const { column, before } = place;
    return { at: before * this.rowCount + row * column.width, column };
  }
}

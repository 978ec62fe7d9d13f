import { firstIndex } from '../../../lib/bytes/binary-search.ts';
import type { ByteSource } from '../../../lib/bytes/byte-source.ts';
import { whole } from '../../../lib/bytes/concatenated-source.ts';
import { hashRanges } from '../../../lib/bytes/hash-and-compare.ts';
import { invalid } from '../../../lib/errors.ts';
import { corruptDatabase } from './database/string-pool.ts';
import type { Database } from './database/database.ts';
import type { Table } from './database/table.ts';

/** A file that a package installs: a row of its table File. */
export interface PackageFile {
  /** Its primary key, which is also its name in a cabinet. */
  readonly key: string;
  /** The name under which it is installed. */
  readonly name: string;
  readonly row: number;
  /** The cabinet that its medium names: with `#` in front it is a stream of the package. Empty if there is none. */
  readonly cabinet: string;
}

/** Attribute of a file (msidbFileAttributesNoncompressed): it lies beside the package, though its medium names a cabinet. */
const NOT_IN_CABINET = 0x2000;

/** The largest file that the table can state, in bytes. */
const LARGEST_FILE = 0x7fffffff;

/** The tables of a package that say which files it installs, and what they say about each. */
export class PackageFiles {
  private readonly hashRows = new Map<string, number>();
  private readonly changed = new Set<Table>();

  private constructor(
    private readonly database: Database,
    private readonly files: Table,
    private readonly hashes: Table | null,
    readonly byKey: ReadonlyMap<string, PackageFile>,
    private readonly fileName: string,
  ) {
    for (let row = 0; row < (hashes?.rowCount ?? 0); row += 1)
      this.hashRows.set(hashes?.text(row, 'File_') ?? '', row);
  }

  /** Null if the package has no table of files, as patches and transforms. Throws `msi-database-corrupt`. */
  static async read(database: Database, fileName: string): Promise<PackageFiles | null> {
    const files = await database.table('File');
    if (!files) return null;
    const media = await database.table('Media');
    const byKey = new Map<string, PackageFile>();
    const cabinetOf = cabinetsBySequence(media);
    for (let row = 0; row < files.rowCount; row += 1) {
      const key = files.text(row, 'File');
      if (byKey.has(key)) throw corruptDatabase(fileName, `two files have the key ${JSON.stringify(key)}`);
      const cabinet = isLoose(files, row) ? '' : cabinetOf(files.integer(row, 'Sequence') ?? 0);
      byKey.set(key, { key, name: longName(files.text(row, 'FileName')), row, cabinet });
    }
    return new PackageFiles(database, files, await database.table('MsiFileHash'), byKey, fileName);
  }

  /**
   * Enters the size of a file's new content, and its hash if the table has one. Version and language stay: they are read from
   * the resources of a program, which a signature does not change.
   */
  async enter({ key, row }: PackageFile, content: ByteSource): Promise<void> {
    if (content.size > LARGEST_FILE)
      throw invalid('msi-file-too-large', `${this.fileName}: file ${key} would have ${content.size} bytes`);
    this.files.setInteger(row, 'FileSize', content.size);
    this.changed.add(this.files);
    const hashRow = this.hashRows.get(key);
    if (!this.hashes || hashRow === undefined) return;
    const { digest } = await hashRanges([whole(content)], { algorithm: 'md5' });
    for (let part = 0; part < 4; part += 1)
      this.hashes.setInteger(hashRow, `HashPart${part + 1}`, digest.readInt32LE(part * 4));
    this.changed.add(this.hashes);
  }

  /** The streams of the tables that `enter` changed. */
  changedStreams(): { name: string; bytes: Buffer }[] {
    return [this.files, this.hashes]
      .filter((table): table is Table => table !== null && this.changed.has(table))
      .map(({ name, bytes }) => ({ name: this.database.streamName(name), bytes }));
  }
}

const isLoose = (files: Table, row: number): boolean =>
  files.has('Attributes') && ((files.integer(row, 'Attributes') ?? 0) & NOT_IN_CABINET) !== 0;

/** `SHORT~1.EXE|long name.exe`, or one name. */
const longName = (fileName: string): string => fileName.slice(fileName.indexOf('|') + 1);

/** Finds the cabinet of a file: that of the medium with the least LastSequence which is not below the file's. */
function cabinetsBySequence(media: Table | null): (sequence: number) => string {
  const ends: { last: number; cabinet: string }[] = [];
  for (let row = 0; row < (media?.rowCount ?? 0); row += 1)
    ends.push({ last: media?.integer(row, 'LastSequence') ?? 0, cabinet: media?.text(row, 'Cabinet') ?? '' });
  ends.sort((a, b) => a.last - b.last);
  return (sequence) =>
    ends[firstIndex(ends.length, (index) => (ends[index]?.last ?? 0) >= sequence)]?.cabinet ?? '';
}

import type { ByteSource } from '../bytes/byte-source.ts';
import type { CompoundFileHeader } from './header.ts';
import { fault } from './faults.ts';

/** The sectors of a file: numbered from 0, the first one behind the header's own. */
export class Sectors {
  /** Number of sectors, the last of which the file may hold only in part. */
  readonly count: number;

  constructor(
    readonly source: ByteSource,
    readonly size: number,
  ) {
    this.count = Math.max(0, Math.ceil(source.size / size) - 1);
  }

  static of(source: ByteSource, { sectorSize }: Pick<CompoundFileHeader, 'sectorSize'>): Sectors {
    return new Sectors(source, sectorSize);
  }

  /** The offset of a sector in the file. */
  offset(sector: number): number {
    return (sector + 1) * this.size;
  }

  /** The bytes of a whole sector; throws `cfb-truncated` if the file does not have them all. */
  read(sector: number): Promise<Buffer> {
    return this.readRun(sector, 1);
  }

  /** The bytes of consecutive sectors. */
  readRun(sector: number, count: number): Promise<Buffer> {
    if (this.offset(sector + count) > this.source.size)
      throw fault(this.source, 'cfb-truncated', `sector ${sector + count - 1} lies beyond its end`);
    return this.source.read(this.offset(sector), count * this.size);
  }
}

import type { ByteSource } from '../bytes/byte-source.ts';
import { SECTOR } from './header.ts';
import { SectorChain } from './sector-chain.ts';
import { fault } from './faults.ts';

/** What follows each sector: another one, or a value of `SECTOR`. */
export class AllocationTable {
  /** Sectors that a chain, or the tables themselves, have been found to use. */
  private readonly owned: Uint8Array;

  constructor(
    readonly next: Uint32Array,
    /** The number of sectors that exist; the table may have entries for more, or for fewer. */
    readonly sectors: number,
    private readonly source: Pick<ByteSource, 'name'>,
  ) {
    this.owned = new Uint8Array(Math.min(sectors, next.length));
  }

  static fromBytes(bytes: Buffer, sectors: number, source: Pick<ByteSource, 'name'>): AllocationTable {
    const next = new Uint32Array(bytes.length / 4);
    for (let at = 0; at < next.length; at += 1) next[at] = bytes.readUInt32LE(at * 4);
    return new AllocationTable(next, sectors, source);
  }

  /** Whether something uses a sector; known when all chains have been followed. */
  isOwned(sector: number): boolean {
    return this.owned[sector] === 1;
  }

  /** Records what uses a sector; throws `cfb-chain` if that is not the first, or there is no such sector. */
  own(sector: number, what: string): void {
    if (sector >= this.owned.length)
      throw fault(this.source, 'cfb-chain', `${what} uses sector ${sector}, which does not exist`);
    if (this.owned[sector] === 1)
      throw fault(this.source, 'cfb-chain', `${what} uses sector ${sector}, which is in use already`);
    this.owned[sector] = 1;
  }

  /**
   * Follows a chain to its end. No sector is ever used twice, so that this ends even if the chain is a loop. Throws
   * `cfb-chain`.
   */
  follow(start: number, what: string): SectorChain {
    const chain = new SectorChain();
    for (let sector = start; sector !== SECTOR.endOfChain; sector = this.next[sector] ?? SECTOR.free) {
      this.own(sector, what);
      chain.push(sector);
    }
    return chain;
  }
}

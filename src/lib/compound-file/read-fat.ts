import { AllocationTable } from './allocation-table.ts';
import { DIFAT_AT, HEADER_DIFAT, SECTOR, type CompoundFileHeader } from './header.ts';
import type { Sectors } from './sectors.ts';
import { fault } from './faults.ts';

/** The most entries of a FAT that is read into memory: 32 MiB, 4 GiB of sectors in version 3 and 32 GiB in version 4. */
const MAX_FAT_ENTRIES = 8 * 1024 * 1024;

/** The FAT, and the sectors that it and its list (DIFAT) lie in. */
export interface Fat {
  readonly table: AllocationTable;
  /** In the order of what they describe. */
  readonly fatSectors: readonly number[];
  readonly difatSectors: readonly number[];
}

/** Reads the FAT (MS-CFB sections 2.3 and 2.5); throws `cfb-fat`, `cfb-chain`, `cfb-truncated`, `cfb-too-large`. */
export async function readFat(sectors: Sectors, header: CompoundFileHeader): Promise<Fat> {
  const { fatSectors, difatSectors } = await locateFat(sectors, header);
  const parts: Buffer[] = [];
  for (const sector of fatSectors) parts.push(await sectors.read(sector));
  const table = AllocationTable.fromBytes(Buffer.concat(parts), sectors.count, sectors.source);
  own(table, fatSectors, SECTOR.fat, 'the FAT', sectors);
  own(table, difatSectors, SECTOR.difat, 'the DIFAT', sectors);
  return { table, fatSectors, difatSectors };
}

function own(
  table: AllocationTable,
  list: readonly number[],
  mark: number,
  what: string,
  { source }: Sectors,
): void {
  for (const sector of list) {
    table.own(sector, what);
    if (table.next[sector] !== mark)
      throw fault(source, 'cfb-fat', `sector ${sector} of ${what} is not marked as one`);
  }
}

async function locateFat(
  sectors: Sectors,
  header: CompoundFileHeader,
): Promise<Pick<Fat, 'fatSectors' | 'difatSectors'>> {
  requireCounts(sectors, header);
  const listed: number[] = [];
  for (let at = 0; at < HEADER_DIFAT; at += 1) listed.push(header.bytes.readUInt32LE(DIFAT_AT + at * 4));
  const difatSectors: number[] = [];
  let next = header.difatStart;
  for (let count = 0; count < header.difatSectors; count += 1) {
    if (next >= sectors.count)
      throw fault(sectors.source, 'cfb-fat', 'the list of its FAT sectors is cut short');
    difatSectors.push(next);
    const bytes = await sectors.read(next);
    for (let at = 0; at < bytes.length - 4; at += 4) listed.push(bytes.readUInt32LE(at));
    next = bytes.readUInt32LE(bytes.length - 4);
  }
  if (!isEnd(next))
    throw fault(sectors.source, 'cfb-fat', 'the list of its FAT sectors does not end where it should');
  requireEnd(listed.slice(header.fatSectors), sectors);
  const fatSectors = listed.slice(0, header.fatSectors);
  if (fatSectors.length < header.fatSectors || fatSectors.includes(SECTOR.free))
    throw fault(sectors.source, 'cfb-fat', 'the list of its FAT sectors has fewer than its header says');
  if (fatSectors.some((sector) => sector >= sectors.count))
    throw fault(sectors.source, 'cfb-truncated', 'its allocation table lies beyond its end');
  return { fatSectors, difatSectors };
}

/** The end of a chain; some writers leave it free. */
const isEnd = (sector: number): boolean => sector === SECTOR.endOfChain || sector === SECTOR.free;

/** Entries of the list after the last FAT sector could hold anything, since no reader looks at them. */
function requireEnd(rest: readonly number[], { source }: Sectors): void {
  if (rest.every((sector) => sector === SECTOR.free)) return;
  throw fault(source, 'cfb-fat', 'the list of its FAT sectors has more than its header says');
}

/** Each count is checked against the size of the file before anything is read in a loop. */
function requireCounts(
  { source, size, count }: Sectors,
  { fatSectors, difatSectors }: CompoundFileHeader,
): void {
  const perSector = size / 4;
  if (fatSectors * perSector > MAX_FAT_ENTRIES)
    throw fault(source, 'cfb-too-large', `its allocation table would have ${fatSectors} sectors`);
  if (fatSectors > count || difatSectors > count)
    throw fault(source, 'cfb-truncated', 'its allocation table is larger than the file');
  if (fatSectors === 0) throw fault(source, 'cfb-fat', 'it has no allocation table');
  const needed = Math.ceil(Math.max(0, fatSectors - HEADER_DIFAT) / (perSector - 1));
  if (difatSectors < needed || difatSectors > needed + 1)
    throw fault(source, 'cfb-fat', `${difatSectors} DIFAT sectors for ${fatSectors} FAT sectors`);
}

import type { ByteSource } from '../bytes/byte-source.ts';
import { ENTRY, ENTRY_SIZE, TYPE } from './directory-entry.ts';
import { readHeader } from './header.ts';
import { fault } from './faults.ts';
import { Sectors } from './sectors.ts';

/** The CLSID of the root, 16 bytes, for recognising a file: reads only the header and the first entry. Throws `cfb-…`. */
export async function readRootClsid(source: ByteSource): Promise<Buffer> {
  const header = await readHeader(source);
  const at = Sectors.of(source, header).offset(header.directoryStart);
  if (at + ENTRY_SIZE > source.size)
    throw fault(source, 'cfb-truncated', 'its directory lies beyond its end');
  const entry = await source.read(at, ENTRY_SIZE);
  if (entry[ENTRY.type] !== TYPE.root)
    throw fault(source, 'cfb-directory', 'its first entry is not the root');
  return entry.subarray(ENTRY.clsid, ENTRY.clsid + 16);
}

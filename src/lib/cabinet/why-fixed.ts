import type { Cabinet, CabinetFolder, CabinetMember } from './cabinet.ts';
import { CABINET_FLAG } from './header.ts';

/** Whether the content of a folder can be written again. */
const canPack = ({ compression }: CabinetFolder): boolean =>
  compression === 'stored' || compression === 'MSZIP';

/** Why the content of a member cannot be replaced, to complete "NAME: …"; null if it can be. */
export function whyFixed(cabinet: Cabinet, { folder: index }: CabinetMember): string | null {
  const folder = cabinet.folders[index];
  return folder && !canPack(folder) ? `is compressed with ${folder.compression}` : whyNotRebuilt(cabinet);
}

/** Why a cabinet is not written again: something in it would be lost, or other cabinets depend on it. */
export function whyNotRebuilt({ source, header }: Cabinet): string | null {
  if ((header.flags & (CABINET_FLAG.previous | CABINET_FLAG.next)) !== 0)
    return 'is in one of a set of cabinets';
  if (header.reserve && (header.reserve.perBlock > 0 || header.reserve.perFolder > 0))
    return 'is in a cabinet with reserved areas of its own';
  if (header.checksum !== 0 || header.reserved.some((field) => field !== 0))
    return 'is in a cabinet with values in reserved fields';
  return header.reserve || source.size === header.size ? null : 'is in a cabinet that other bytes follow';
}

import type { Cabinet } from '../../../lib/cabinet/cabinet.ts';
import { CABINET_FLAG, FIXED_HEADER } from '../../../lib/cabinet/header.ts';
import { INSERTED } from './signature-area.ts';

/** The parts of a cabinet's head that inserting an area for the signature changes. */
export interface CabinetHead {
  readonly fixed: Buffer;
  /** The table of folders. */
  readonly folders: Buffer;
}

export async function readHead({ source, header: { folders } }: Cabinet): Promise<CabinetHead> {
  const [fixed, table] = await Promise.all([
    source.read(0, FIXED_HEADER),
    source.read(folders.start, folders.end - folders.start),
  ]);
  return { fixed, folders: table };
}

/** The head with an area for the signature: everything behind it moves. The cabinet has no reserved areas. */
export const withArea = (head: CabinetHead): CabinetHead => moved(head, INSERTED, CABINET_FLAG.reserve);

/** The head without the area for the signature, the only reserved one. */
export const withoutArea = (head: CabinetHead): CabinetHead => moved(head, -INSERTED, 0);

/** cbCabinet, coffFiles and every coffCabStart plus a distance. */
function moved(head: CabinetHead, distance: number, reserve: number): CabinetHead {
  const [fixed, folders] = [Buffer.from(head.fixed), Buffer.from(head.folders)];
  const move = (bytes: Buffer, at: number): void =>
    void bytes.writeUInt32LE((bytes.readUInt32LE(at) + distance) >>> 0, at);
  move(fixed, 0x08);
  move(fixed, 0x10);
  const others = fixed.readUInt16LE(0x1e) & ~CABINET_FLAG.reserve;
  fixed.writeUInt16LE(others | reserve, 0x1e);
  for (let at = 0; at < folders.length; at += 8) move(folders, at);
  return { fixed, folders };
}

import type { ByteSource } from '../../../lib/bytes/byte-source.ts';
import type { Cabinet } from '../../../lib/cabinet/cabinet.ts';
import { CABINET_FLAG } from '../../../lib/cabinet/header.ts';
import { invalid } from '../../../lib/errors.ts';
import type { SignatureArea } from './signature-area.ts';

/** The largest cabinet: its size has 32 bits. */
const MAX_SIZE = 0xffffffff;
/** Room for any signature, in bytes: those with two chains and a timestamp take 20 KiB. */
const ROOM = 64 * 1024;

/** Throws `cab-too-large` if a cabinet of this size leaves no room for a signature. */
export function requireCabSize(size: number, name: string): void {
  if (size + ROOM > MAX_SIZE)
    throw invalid('cab-too-large', `${name}: signed, it would be larger than 4 GiB`, {
      hint: 'the fields of a cabinet cannot express more: divide it, or exclude it',
    });
}

interface CabToSign {
  readonly source: ByteSource;
  readonly cabinet: Cabinet;
  readonly area: SignatureArea | null;
}

/**
 * Refuses to sign cabinets for which no file made by Microsoft's tools shows what the digest covers. Signatures that others
 * made of such files are verified nevertheless.
 *
 * | code                  | meaning                                                                       |
 * | --------------------- | ----------------------------------------------------------------------------- |
 * | `cab-set`             | one of a set of cabinets                                                      |
 * | `cab-reserve`         | reserved areas that are not the one that signing adds                         |
 * | `cab-header-checksum` | csumHeader, which the digest leaves out, is not 0                             |
 * | `cab-trailing-data`   | bytes follow the cabinet                                                      |
 */
export function requireSignableCab({ source, cabinet: { header }, area }: CabToSign): void {
  const { name } = source;
  requireCabSize(source.size, name);
  if (header.number !== 0 || (header.flags & (CABINET_FLAG.previous | CABINET_FLAG.next)) !== 0)
    throw invalid('cab-set', `${name}: it belongs to a set of cabinets, which cannot be signed`, {
      hint: 'make one cabinet of all files, or exclude it',
    });
  if (header.reserve && !area?.usual)
    throw invalid('cab-reserve', `${name}: it has reserved areas of its own, and cannot be signed`, {
      hint: 'make the cabinet without reserved areas; signing adds the one that it needs',
    });
  if (header.checksum !== 0)
    throw invalid(
      'cab-header-checksum',
      `${name}: its header field csumHeader, which no signature covers, is not 0`,
      { hint: 'make the cabinet again' },
    );
  if ((area?.offset ?? source.size) !== header.size)
    throw invalid('cab-trailing-data', `${name}: bytes follow the cabinet, which ends at ${header.size}`, {
      hint: 'cut them off, or make the cabinet again',
    });
}

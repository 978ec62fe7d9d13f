import { readDer } from '../../../lib/asn1/der.ts';
import type { ByteRange } from '../../../lib/bytes/byte-range.ts';
import type { ByteSource } from '../../../lib/bytes/byte-source.ts';
import type { CabinetHeader } from '../../../lib/cabinet/header.ts';
import { invalid, type SignpipeError } from '../../../lib/errors.ts';
import type { Finding } from '../signable-file.ts';

/*
 * The reserved area in the header of a signed cabinet, little-endian:
 *
 *   len1 u16, len2 u16 = 16, structure 1 (len1 bytes), offset u32, length u32, 8 zero bytes
 *
 * The signature lies at the offset, which is the size of the cabinet, and ends the file. Its length counts the zero bytes
 * that signtool pads it with to a multiple of eight; other signers do not pad.
 */

/** The longest signature that is read into memory, in bytes: signatures take tens of KiB. */
export const MAX_SIGNATURE = 16 * 1024 * 1024;

/** The size of the area that signing adds, in bytes; the fields before it take four more. */
const AREA_SIZE = 20;

/** What signing inserts behind the fixed header, in bytes. */
export const INSERTED = AREA_SIZE + 4;

const STRUCTURE_2 = 16;

/** Where the signature of a cabinet is. */
export interface SignatureArea {
  /** The offset of the fields `offset` and `length`. */
  readonly fieldsAt: number;
  /** Data of an application before those fields, which the digest covers together with its length. */
  readonly structure1: ByteRange;
  readonly offset: number;
  readonly length: number;
  /** Whether the area is what signing inserts, so that it can be removed again. */
  readonly usual: boolean;
  /** Bytes behind the two fields that are not zero. */
  readonly stray: number;
}

/** Reads where the signature is; null if the reserved area belongs to something else. */
export async function readSignatureArea(
  source: ByteSource,
  { reserve }: CabinetHeader,
): Promise<SignatureArea | null> {
  if (!reserve) return null;
  const { start, end } = reserve.header;
  const bytes = await source.read(start, end - start);
  if (bytes.length < AREA_SIZE) return null;
  const [len1, len2] = [bytes.readUInt16LE(0), bytes.readUInt16LE(2)];
  const at = 4 + len1;
  if (len2 !== STRUCTURE_2 || at + STRUCTURE_2 > bytes.length) return null;
  const [offset, length] = [bytes.readUInt32LE(at), bytes.readUInt32LE(at + 4)];
  if (offset === 0 && length === 0) return null;
  return {
    fieldsAt: start + at,
    structure1: { start: start + 4, end: start + at },
    offset,
    length,
    usual: bytes.length === AREA_SIZE && len1 === 0 && reserve.perFolder === 0 && reserve.perBlock === 0,
    stray: bytes.subarray(at + 8).filter((byte) => byte !== 0).length,
  };
}

/** The fields and the area that signing inserts. */
export function buildSignatureArea(offset: number, length: number): Buffer {
  const area = Buffer.alloc(INSERTED);
  area.writeUInt16LE(AREA_SIZE, 0);
  area.writeUInt16LE(STRUCTURE_2, 6);
  area.writeUInt32LE(offset, 8);
  area.writeUInt32LE(length, 12);
  return area;
}

/** A signature as signtool writes it: padded to eight bytes of its own length. */
export const padded = (signature: Buffer): Buffer =>
  Buffer.concat([signature, Buffer.alloc((8 - (signature.length % 8)) % 8)]);

const corrupt = (name: string, why: string): SignpipeError =>
  invalid('cab-signature-corrupt', `${name}: the entry of its signature is broken: ${why}`, {
    hint: 'start from the unsigned file',
  });

/** Reads the signature (PKCS #7 ContentInfo in DER), and finds what lies around it. Throws `cab-signature-…`. */
export async function readCabSignature(
  source: ByteSource,
  header: CabinetHeader,
  area: SignatureArea,
): Promise<{ signature: Buffer; findings: Finding[] }> {
  const { offset, length } = area;
  if (length > MAX_SIGNATURE)
    throw invalid('cab-signature-too-large', `${source.name}: a signature of ${length} bytes`);
  if (offset < header.size || offset + length > source.size)
    throw corrupt(
      source.name,
      `${length} bytes at ${offset} of ${source.size}, behind a cabinet of ${header.size}`,
    );
  const bytes = await source.read(offset, length);
  const { signature, rest } = splitSignature(bytes, source.name);
  return {
    signature,
    findings: [...headerFindings(header, area), ...endFindings(source, header, area, rest)],
  };
}

function splitSignature(bytes: Buffer, name: string): { signature: Buffer; rest: Buffer } {
  try {
    const { der, rest } = readDer(bytes, 'signature');
    return { signature: der.raw, rest };
  } catch (error) {
    throw invalid(
      'cab-signature-corrupt',
      `${name}: the entry of its signature does not hold a whole DER value`,
      {
        cause: error,
      },
    );
  }
}

/** Fields that the digest leaves out, unless something else determines them. */
function headerFindings(
  { checksum, reserve, folderCount }: CabinetHeader,
  { stray }: SignatureArea,
): Finding[] {
  const findings: Finding[] = [];
  if (checksum !== 0)
    findings.push({
      code: 'cab-header-checksum',
      message: `its header field csumHeader, which is reserved and no signature covers, holds 0x${checksum.toString(16)}`,
    });
  if (stray > 0)
    findings.push({
      code: 'cab-reserve-bytes',
      message: `${stray} bytes that are not zero follow the place of the signature in its reserved area`,
    });
  if (reserve && (reserve.perBlock > 0 || (reserve.perFolder > 0 && folderCount === 0)))
    findings.push({
      code: 'cab-reserve-bytes',
      message: `it claims reserved areas of its own beside folders or data, whose sizes no signature covers`,
    });
  return findings;
}

function endFindings(
  source: ByteSource,
  header: CabinetHeader,
  { offset, length }: SignatureArea,
  rest: Buffer,
): Finding[] {
  const findings: Finding[] = [];
  if (offset > header.size)
    findings.push({
      code: 'cab-bytes-before-signature',
      message: `${offset - header.size} bytes lie between the end of the cabinet and its signature`,
    });
  const after = source.size - offset - length;
  if (after > 0 || rest.length > 7 || rest.some((byte) => byte !== 0))
    findings.push({
      code: 'cab-trailing-bytes',
      message: `${rest.length + after} bytes follow the signature`,
    });
  return findings;
}

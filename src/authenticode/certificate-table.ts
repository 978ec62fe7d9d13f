import { invalid, type SignpipeError } from '../errors.ts';
import { readDer } from '../asn1/der.ts';
import type { Untidiness } from './signable.ts';

/** The longest certificate table that we read into memory, in bytes: signatures take tens of KiB. */
export const MAX_TABLE = 16 * 1024 * 1024;

const HEADER = 8;
const REVISION_2 = 0x0200;
const TYPE_PKCS_SIGNED_DATA = 0x0002;

/** Zero bytes that bring a length to the next multiple of eight. */
export const padding = (length: number): Buffer => Buffer.alloc((8 - (length % 8)) % 8);

/** A certificate table with one entry (WIN_CERTIFICATE); dwLength counts its padding, as signtool writes it. */
export function buildCertificateTable(signature: Buffer): Buffer {
  const pad = padding(signature.length);
  const header = Buffer.alloc(HEADER);
  header.writeUInt32LE(HEADER + signature.length + pad.length, 0);
  header.writeUInt16LE(REVISION_2, 4);
  header.writeUInt16LE(TYPE_PKCS_SIGNED_DATA, 6);
  return Buffer.concat([header, signature, pad]);
}

interface Entry {
  readonly revision: number;
  readonly type: number;
  readonly content: Buffer;
}

export interface CertificateTable {
  /** The PKCS#7 ContentInfo of the first entry that holds one, without padding. */
  readonly signature: Buffer;
  readonly slack: Untidiness[];
}

/**
 * Reads a whole certificate table. As Windows does, dwLength may count the padding to eight bytes
 * (signtool, osslsigncode) or not (older signers), and the last entry's padding may be missing;
 * the first entry of revision 2.0 and type PKCS_SIGNED_DATA is the signature. What else the table
 * holds no verifier looks at, so it is listed as slack. Throws `pe-table-…`.
 */
export function readCertificateTable(table: Buffer, name: string): CertificateTable {
  const entries = readEntries(table, name);
  const index = entries.findIndex((e) => e.revision === REVISION_2 && e.type === TYPE_PKCS_SIGNED_DATA);
  const entry = entries[index];
  if (!entry)
    throw invalid('pe-table-foreign', `${name}: its certificate table holds no Authenticode signature`);
  const { signature, rest } = splitSignature(entry.content, name);
  const slack: Untidiness[] = [];
  if (entries.length > 1)
    slack.push({
      code: 'table-several-entries',
      message: `the certificate table has ${entries.length} entries; only number ${index + 1} is the signature`,
    });
  if (rest.length > 7 || rest.some((byte) => byte !== 0))
    slack.push({
      code: 'table-trailing-bytes',
      message: `${rest.length} bytes follow the signature in its certificate table entry (CVE-2013-3900)`,
    });
  return { signature, slack };
}

const corrupt = (name: string, why: string): SignpipeError =>
  invalid('pe-table-corrupt', `${name}: its certificate table is broken: ${why}`, {
    hint: 'start from the unsigned file',
  });

function readEntries(table: Buffer, name: string): Entry[] {
  const entries: Entry[] = [];
  for (let at = 0; at < table.length;) {
    if (table.length - at < HEADER) throw corrupt(name, `${table.length - at} bytes after its last entry`);
    const length = table.readUInt32LE(at);
    if (length < HEADER || length > table.length - at)
      throw corrupt(name, `entry ${entries.length + 1} claims ${length} bytes`);
    const end = Math.min(at + Math.ceil(length / 8) * 8, table.length);
    entries.push({
      revision: table.readUInt16LE(at + 4),
      type: table.readUInt16LE(at + 6),
      content: table.subarray(at + HEADER, end),
    });
    at = end;
  }
  return entries;
}

function splitSignature(content: Buffer, name: string): { signature: Buffer; rest: Buffer } {
  try {
    const { der, rest } = readDer(content, 'signature');
    return { signature: der.raw, rest };
  } catch (error) {
    throw invalid('pe-table-corrupt', `${name}: its certificate table does not hold a DER signature`, {
      cause: error,
    });
  }
}

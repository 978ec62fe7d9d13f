import { invalid, type SignpipeError } from '../../../lib/errors.ts';
import { readDer } from '../../../lib/asn1/der.ts';
import type { Finding } from '../signable-file.ts';

/** The longest certificate table that is read into memory, in bytes: signatures take tens of KiB. */
export const MAX_TABLE = 16 * 1024 * 1024;

/** The most entries of a table: two are usual in programs for firmware, one in all others. */
const MAX_ENTRIES = 32;

const HEADER = 8;
const REVISION_2 = 0x0200;
const TYPE_PKCS_SIGNED_DATA = 0x0002;

/** The zero bytes that pad a length to the next multiple of eight. */
export const padding = (length: number): Buffer => Buffer.alloc((8 - (length % 8)) % 8);

/** A certificate table with an entry for each signature. */
export const buildCertificateTable = (signatures: readonly Buffer[]): Buffer =>
  Buffer.concat(signatures.map(buildEntry));

/** An entry (WIN_CERTIFICATE); dwLength counts its padding, as signtool writes it. */
function buildEntry(signature: Buffer): Buffer {
  const pad = padding(signature.length);
  const header = Buffer.alloc(HEADER);
  header.writeUInt32LE(HEADER + signature.length + pad.length, 0);
  header.writeUInt16LE(REVISION_2, 4);
  header.writeUInt16LE(TYPE_PKCS_SIGNED_DATA, 6);
  return Buffer.concat([header, signature, pad]);
}

/**
 * The signatures of a detached form: one after another in DER, as they are in the table's entries. Throws `der-malformed`,
 * and `pe-table-corrupt` if there are too many.
 */
export function splitSignatures(detached: Buffer, what: string): Buffer[] {
  const signatures: Buffer[] = [];
  let left = detached;
  do {
    const { der, rest } = readDer(left, what);
    if (signatures.push(der.raw) > MAX_ENTRIES) throw tooMany(what);
    left = rest;
  } while (left.length > 0);
  return signatures;
}

interface Entry {
  /** Counted from 1. */
  readonly number: number;
  readonly revision: number;
  readonly type: number;
  /** The bytes that dwLength counts, without the header. */
  readonly content: Buffer;
  /** The bytes that follow, up to the next multiple of eight. */
  readonly padding: Buffer;
  /** Where these end in the table. */
  readonly end: number;
}

export interface CertificateTable {
  /** PKCS #7 ContentInfo, DER without padding: of the first entry, or of all if every entry counts. */
  readonly signatures: readonly [Buffer, ...Buffer[]];
  /** Entries and bytes that no verifier reads. */
  readonly findings: readonly Finding[];
  /** Where each entry ends with its padding, in the table. */
  readonly entryEnds: readonly number[];
}

/**
 * Parses a whole certificate table. As in Windows, dwLength may count the padding to eight bytes (signtool,
 * osslsigncode) or not (older signers), and the last entry's padding may be missing; dwLength must cover the whole
 * signature. Entries of revision 2.0 and type PKCS_SIGNED_DATA are signatures: Windows reads the first, UEFI firmware
 * all of them (`everyEntry`). No verifier reads anything else in the table, so it is a finding. Throws
 * `pe-table-…`.
 */
export function readCertificateTable(table: Buffer, name: string, everyEntry = false): CertificateTable {
  const entries = readEntries(table, name);
  const signatureEntries = entries.filter(
    (e) => e.revision === REVISION_2 && e.type === TYPE_PKCS_SIGNED_DATA,
  );
  const [first, ...more] = everyEntry ? signatureEntries : signatureEntries.slice(0, 1);
  if (!first)
    throw invalid('pe-table-foreign', `${name}: its certificate table holds no Authenticode signature`);
  const signatures = [first, ...more].map((entry) => splitSignature(entry, name));
  const unreadCount = entries.length - signatures.length;
  const findings: Finding[] = [];
  if (unreadCount > 0)
    findings.push({
      code: 'table-several-entries',
      message: `the certificate table has ${entries.length} entries, ${unreadCount} of which no verifier reads`,
    });
  const [signature, ...others] = signatures.map((each) => each.signature);
  return {
    signatures: [signature ?? first.content, ...others],
    findings: [...findings, ...signatures.flatMap(({ rest, entry }) => trailing(rest, entry))],
    entryEnds: entries.map(({ end }) => end),
  };
}

/** A signature may be followed by up to seven zero bytes, counted by dwLength or not. */
const trailing = (rest: Buffer, { padding: after }: Entry): Finding[] =>
  rest.length + after.length > 7 || [...rest, ...after].some((byte) => byte !== 0)
    ? [
        {
          code: 'table-trailing-bytes',
          message: `${rest.length + after.length} bytes follow the signature in its certificate table entry (CVE-2013-3900)`,
        },
      ]
    : [];

const tooMany = (name: string): SignpipeError => corrupt(name, `more than ${MAX_ENTRIES} entries`);

const corrupt = (name: string, why: string): SignpipeError =>
  invalid('pe-table-corrupt', `${name}: its certificate table is broken: ${why}`, {
    hint: 'start from the unsigned file',
  });

function readEntries(table: Buffer, name: string): Entry[] {
  const entries: Entry[] = [];
  for (let at = 0; at < table.length;) {
    const number = entries.length + 1;
    if (table.length - at < HEADER) throw corrupt(name, `${table.length - at} bytes after its last entry`);
    const length = table.readUInt32LE(at);
    if (length < HEADER || length > table.length - at)
      throw corrupt(name, `entry ${number} claims ${length} bytes`);
    const end = Math.min(at + Math.ceil(length / 8) * 8, table.length);
    if (number > MAX_ENTRIES) throw tooMany(name);
    entries.push({
      number,
      revision: table.readUInt16LE(at + 4),
      type: table.readUInt16LE(at + 6),
      content: table.subarray(at + HEADER, at + length),
      padding: table.subarray(at + length, end),
      end,
    });
    at = end;
  }
  return entries;
}

/** An entry's signature, and the bytes behind it that dwLength counts. */
function splitSignature(entry: Entry, name: string): { signature: Buffer; rest: Buffer; entry: Entry } {
  try {
    const { der, rest } = readDer(entry.content, 'signature');
    return { signature: der.raw, rest, entry };
  } catch (error) {
    throw invalid(
      'pe-table-corrupt',
      `${name}: entry ${entry.number} of its certificate table does not hold a whole DER signature`,
      { cause: error },
    );
  }
}

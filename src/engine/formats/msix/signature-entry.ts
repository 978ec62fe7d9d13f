import { deflateRawSync, constants } from 'node:zlib';
import { invalid } from '../../../lib/errors.ts';
import { dosTimeOf, entryHeaders, timeOfDos } from '../../../lib/zip/edit-entries.ts';
import { CENTRAL, LOCAL, METHOD } from '../../../lib/zip/header-fields.ts';
import type { ArchiveEntry } from '../../../lib/zip/local-headers.ts';
import { plainEntry } from '../../../lib/zip/package-records.ts';
import { referenceDeflate } from '../../../lib/zip/reference-deflate.ts';
import type { Finding } from '../signable-file.ts';
import type { MsixPackage } from './package.ts';
import { PART } from './part-names.ts';

/** The first bytes of AppxSignature.p7x; the signature follows. */
const MAGIC = Buffer.from('PKCX');

/** The content of the signature's entry. */
export const signaturePart = (signature: Buffer): Buffer => Buffer.concat([MAGIC, signature]);

/** The signature in the content of its entry; throws `msix-signature-part`. */
export function signatureIn(content: Buffer, what: string): Buffer {
  if (content.subarray(0, MAGIC.length).equals(MAGIC) && content.length > MAGIC.length)
    return content.subarray(MAGIC.length);
  throw invalid('msix-signature-part', `${what}: its AppxSignature.p7x does not begin with "PKCX"`);
}

/**
 * What lies in the signature's entry, which no digest covers, beside the signature itself: fields of its headers, and the
 * choices that a deflate stream leaves. Its time is free, but must exist.
 */
export async function signatureEntryFindings(
  { source }: MsixPackage,
  entry: ArchiveEntry,
  content: Buffer,
): Promise<Finding[]> {
  const compressed = await source.read(entry.dataStart, entry.compressedSize);
  const findings: Finding[] = [];
  const { name } = source;
  if (!hasPlainHeaders(entry, content, compressed))
    findings.push({
      code: 'msix-signature-headers',
      message: `${name}: the headers of its signature hold more than they need`,
    });
  if (!timeOfDos(dosTimeOf(entry)))
    findings.push({
      code: 'msix-signature-time',
      message: `${name}: the time in the headers of its signature does not exist`,
    });
  if (entry.method === METHOD.deflated && !isUsualDeflate(content, compressed))
    findings.push({
      code: 'msix-signature-deflate',
      message: `${name}: its signature is compressed as no known tool compresses it`,
    });
  return findings;
}

/** Fields that other tools than signtool write otherwise: versions and the flag of a data descriptor. */
function hasPlainHeaders(entry: ArchiveEntry, content: Buffer, compressed: Buffer): boolean {
  const deflated = entry.method === METHOD.deflated ? compressed : undefined;
  const expected = plainEntry({ name: PART.signature, content, deflated, at: dosTimeOf(entry) });
  const [local, central] = entryHeaders(expected, entry.offset);
  return (
    entry.local.equals(asWritten(local, entry.local, LOCAL.version)) &&
    entry.central.equals(asWritten(central, entry.central, CENTRAL.version))
  );
}

/** Versions that tools write: 1.0, 2.0 and 4.5. */
const VERSIONS: ReadonlySet<number> = new Set([10, 20, 45]);

/** The expected header, with the version needed of the actual one if it is a usual one. */
function asWritten(expected: Buffer, actual: Buffer, versionAt: number): Buffer {
  const version = actual.readUInt16LE(versionAt);
  if (VERSIONS.has(version)) expected.writeUInt16LE(version, versionAt);
  return expected;
}

/** Whether bytes are deflated as zlib or Node's own zlib does, at any level, with or without a flush before the end. */
function isUsualDeflate(content: Buffer, compressed: Buffer): boolean {
  for (const flushed of [true, false])
    if (referenceDeflate(content, { flushed }).equals(compressed)) return true;
  for (let level = 1; level <= 9; level += 1) {
    if (deflateRawSync(content, { level }).equals(compressed)) return true;
    const flushed = deflateRawSync(content, { level, finishFlush: constants.Z_SYNC_FLUSH });
    if (Buffer.concat([flushed, Buffer.from([3, 0])]).equals(compressed)) return true;
  }
  return false;
}

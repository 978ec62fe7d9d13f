import { bitString, explicit, oid, octets, seq, set } from '../../../lib/asn1/encode-der.ts';
import {
  children,
  context,
  DerReader,
  expectTag,
  parseDer,
  readBitString,
  readOctets,
  readOid,
  TAG,
} from '../../../lib/asn1/der.ts';
import { OID } from '../../../lib/asn1/oids.ts';
import { invalid } from '../../../lib/errors.ts';
import {
  readIndirectData,
  requireDigestLength,
  type IndirectData,
} from '../../authenticode/indirect-data.ts';
import { readSpcLink, spcFile, spcMoniker, type SpcLink } from '../../authenticode/spc-link.ts';
import type { FileDigest, SignedContent } from '../signable-file.ts';

/*
 * Microsoft, "Windows Authenticode Portable Executable Signature Format":
 *
 *   SpcPeImageData ::= SEQUENCE { flags SpcPeImageFlags DEFAULT { includeResources }, file SpcLink }
 *
 * Signers depart from that text: the file has the tag [0] EXPLICIT. With page hashes (signtool /ph) the link is an
 * SpcSerializedObject of the class below, whose data is
 *
 *   SET OF SEQUENCE { type OBJECT IDENTIFIER, SET OF OCTET STRING }
 *
 * with one member, in which one octet string holds the table (`page-hashes.ts`).
 */

/** SpcSerializedObject's class for page hashes, {d586b5a6-a1b4-6624-ae05-a217da8e60d6} as signers write it. */
const PAGE_HASHES_CLASS = Buffer.from('a6b586d5b4a12466ae05a217da8e60d6', 'hex');

/** A table of page hashes, and the algorithm that its type names. */
export interface PageHashTable {
  readonly hash: 'sha1' | 'sha256';
  readonly table: Buffer;
}

/**
 * `type` and `value` of the indirect data for a PE file, as signtool writes them: no flags, and an empty file name or
 * the page hashes (SHA-256, whatever the digest of the file).
 */
export const peImageData = (pageHashes: Buffer | null): Pick<IndirectData, 'type' | 'value'> => ({
  type: OID.spcPeImageData,
  value: seq(bitString(Buffer.alloc(0)), explicit(0, pageHashes ? pageHashesLink(pageHashes) : spcFile(''))),
});

const pageHashesLink = (table: Buffer): Buffer =>
  spcMoniker(PAGE_HASHES_CLASS, set(seq(oid(OID.spcPageHashesV2), set(octets(table)))));

interface PeImageData {
  /** SpcPeImageFlags, first bit first; signtool writes none, osslsigncode includeResources. No verifier uses them. */
  readonly flags: Buffer;
  /** A file link of no meaning, or a moniker that carries page hashes. */
  readonly file: SpcLink | null;
}

/** Reads SpcPeImageData, every byte. */
export function parsePeImageData(value: Buffer, what: string): PeImageData {
  const reader = new DerReader(parseDer(value, what), what);
  const flags = reader.optional(TAG.bitString);
  const file = reader.optional(context(0));
  reader.end();
  return {
    flags: flags ? readBitString(flags, what).bytes : Buffer.from([0x80]),
    file: file ? readSpcLink(parseDer(file.body, what), what) : null,
  };
}

/**
 * The tables of page hashes in SpcPeImageData: none, or one; two would be one of each type. Throws
 * `page-hashes-malformed` for an object of another class or with other attributes, which no verifier would read.
 */
function pageHashTablesIn({ file }: PeImageData, what: string): PageHashTable[] {
  if (file?.kind !== 'moniker') return [];
  const malformed = (why: string): Error => invalid('page-hashes-malformed', `${what}: ${why}`);
  if (!file.classId.equals(PAGE_HASHES_CLASS))
    throw malformed(`it holds an object of class ${file.classId.toString('hex')}, not page hashes`);
  const attributes = children(expectTag(parseDer(file.data, what), TAG.set, what), what);
  const tables = attributes.map((attribute): PageHashTable => {
    const reader = new DerReader(attribute, what);
    const [type, values] = [readOid(reader.next(), what), children(reader.next(TAG.set), what)];
    reader.end();
    const hash = PAGE_HASHES.get(type);
    const [table, another] = values;
    if (!hash || !table || another)
      throw malformed(`attribute ${type} with ${values.length} values instead of one table of page hashes`);
    return { hash, table: readOctets(table, what) };
  });
  if (tables.length === 0 || new Set(tables.map(({ hash }) => hash)).size !== tables.length)
    throw malformed(`${tables.length} tables of page hashes`);
  return tables;
}

const PAGE_HASHES: ReadonlyMap<string, PageHashTable['hash']> = new Map([
  [OID.spcPageHashesV1, 'sha1'],
  [OID.spcPageHashesV2, 'sha256'],
] as const);

/** The second one has another meaning; Debian's EFI programs are signed with it nevertheless. */
const TYPES: readonly string[] = [OID.spcPeImageData, OID.spcIndividualPurpose];

/** What a signature of a PE file signs. */
interface PeContent extends FileDigest {
  readonly pageHashes: readonly PageHashTable[];
}

/**
 * Reads what a signature of a PE file signs; throws `authenticode-…`, `page-hashes-malformed`, `cms-digest-unknown` or
 * `der-malformed`.
 */
export function readPeContent(content: SignedContent, what: string): PeContent {
  const indirect = readIndirectData(content, what);
  requireDigestLength(indirect, what);
  if (!TYPES.includes(indirect.type))
    throw invalid(
      'authenticode-kind',
      `${what}: signs content type ${indirect.type}, expected PE image data`,
    );
  const pageHashes = pageHashTablesIn(parsePeImageData(indirect.value, what), what);
  return { hash: indirect.hash, digest: indirect.digest, pageHashes };
}

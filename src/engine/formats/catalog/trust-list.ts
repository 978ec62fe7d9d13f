import {
  children,
  context,
  DerReader,
  expectTag,
  parseDer,
  readBoolean,
  readInteger,
  readOctets,
  readOid,
  readSmallInteger,
  readText,
  readTime,
  TAG,
  type Der,
} from '../../../lib/asn1/der.ts';
import { OID } from '../../../lib/asn1/oids.ts';
import { readAlgorithm } from '../../../lib/cms/signed-data.ts';
import { invalid } from '../../../lib/errors.ts';
import {
  readIndirectData,
  requireDigestLength,
  type IndirectData,
} from '../../authenticode/indirect-data.ts';

/*
 * Microsoft, "Certificate Trust List Profile" (MS-CAESO, wincrypt.h), as catalogs use it:
 *
 *   CertificateTrustList ::= SEQUENCE {
 *     version INTEGER DEFAULT v1, subjectUsage SEQUENCE OF OBJECT IDENTIFIER, listIdentifier OCTET STRING OPTIONAL,
 *     sequenceNumber INTEGER OPTIONAL, ctlThisUpdate Time, ctlNextUpdate Time OPTIONAL,
 *     subjectAlgorithm AlgorithmIdentifier, trustedSubjects SEQUENCE OF TrustedSubject OPTIONAL,
 *     ctlExtensions [0] EXPLICIT Extensions OPTIONAL }
 *   TrustedSubject ::= SEQUENCE { subjectIdentifier OCTET STRING, subjectAttributes SET OF Attribute OPTIONAL }
 */

/** A text or bytes under a name, in a catalog or one of its entries: `File`, `OSAttr`, `FilePath`. */
export interface NameValue {
  readonly name: string;
  /** 0x10000000: signed with the catalog; 0x00010000: text, 0x00020000: bytes. */
  readonly flags: number;
  readonly value: Buffer;
}

/** An entry of a catalog: the digest of a file, and what is said about it. */
export interface CatalogEntry {
  /** Version 2: the digest itself; version 1: the digest in hex, or any name, as UTF-16. */
  readonly identifier: Buffer;
  /** The kind of file and its digest; null if only the identifier has the digest, as in SHA-1 entries of version 2. */
  readonly data: IndirectData | null;
  readonly attributes: readonly NameValue[];
}

/** What a catalog says. */
export interface TrustList {
  readonly version: 1 | 2;
  readonly listId: Buffer | null;
  readonly time: Date;
  readonly entries: readonly CatalogEntry[];
  readonly attributes: readonly NameValue[];
}

/**
 * The most entries, attributes of an entry and attributes of the list: Windows' largest catalogs have some ten thousand entries.
 * Equal files share an entry, which names each, and the list names files without content.
 */
const MAX_ENTRIES = 200_000;

const VERSIONS: ReadonlyMap<string, 1 | 2> = new Map([
  [OID.catalogListMember, 1],
  [OID.catalogListMember2, 2],
]);

const isTime = ({ tag }: Der): boolean => tag === TAG.utcTime || tag === TAG.generalizedTime;

/**
 * Reads a catalog's list, every byte. Throws `catalog-other-list` for certificate trust lists that are no catalogs,
 * `catalog-malformed`, `der-malformed`, or what reading SpcIndirectData throws.
 */
export function parseTrustList(der: Buffer, what: string): TrustList {
  const reader = DerReader.of(der, what);
  const version = reader.optional(TAG.integer);
  if (version && readSmallInteger(version, what) !== 0) throw malformed(what, 'a version other than 1');
  requireCatalogUsage(reader.next(TAG.sequence), what);
  const listId = reader.optional(TAG.octetString)?.body ?? null;
  const sequenceNumber = reader.optional(TAG.integer);
  if (sequenceNumber) readInteger(sequenceNumber, what);
  const time = readTime(reader.next(), what);
  const next = reader.all.filter(isTime)[1];
  if (next) readTime(reader.next(), what);
  const memberVersion = VERSIONS.get(readAlgorithm(reader.next(TAG.sequence), what));
  if (!memberVersion) throw malformed(what, 'entries of an unknown version');
  const entries = reader.optional(TAG.sequence);
  const extensions = reader.optional(context(0));
  reader.end();
  return {
    version: memberVersion,
    listId,
    time,
    entries: entries ? children(entries, what, MAX_ENTRIES).map((entry) => readEntry(entry, what)) : [],
    attributes: extensions ? readExtensions(parseDer(extensions.body, what), what) : [],
  };
}

const malformed = (what: string, why: string): Error =>
  invalid('catalog-malformed', `${what}: not a catalog: ${why}`);

function requireCatalogUsage(usage: Der, what: string): void {
  const usages = children(usage, what).map((each) => readOid(each, what));
  if (usages.length !== 1 || usages[0] !== OID.catalogList)
    throw invalid(
      'catalog-other-list',
      `${what}: a certificate trust list for ${usages.join(', ') || 'nothing'}, not a catalog of files`,
      {
        hint: 'signpipe signs catalogs only; lists of trusted certificates (.stl) are for certificate authorities',
      },
    );
}

function readEntry(der: Der, what: string): CatalogEntry {
  const reader = new DerReader(der, what);
  const identifier = readOctets(reader.next(), what);
  const attributes = reader.done ? [] : children(reader.next(TAG.set), what, MAX_ENTRIES);
  reader.end();
  const values = attributes.map((each) => readAttribute(each, what));
  const [data, ...others] = values.flatMap(({ type, values }) =>
    type === OID.spcIndirectData ? values : [],
  );
  if (others.length > 0) throw malformed(what, 'an entry with several digests');
  return {
    identifier,
    data: data ? readMemberData(data, what) : null,
    attributes: values.flatMap(({ type, values }) =>
      type === OID.catalogNameValue ? values.map((value) => readNameValue(value, what)) : [],
    ),
  };
}

/** Attribute ::= SEQUENCE { type OBJECT IDENTIFIER, values SET OF ANY }; each type has one value here. */
function readAttribute(der: Der, what: string): { readonly type: string; readonly values: readonly Der[] } {
  const reader = new DerReader(der, what);
  const type = readOid(reader.next(), what);
  const values = children(reader.next(TAG.set), what);
  reader.end();
  if (values.length === 0) throw malformed(what, `attribute ${type} has no value`);
  return { type, values };
}

function readMemberData(der: Der, what: string): IndirectData {
  const data = readIndirectData({ type: OID.spcIndirectData, der: der.raw }, what);
  requireDigestLength(data, what);
  return data;
}

/** CatNameValue ::= SEQUENCE { refname BMPString, typeaction INTEGER, value OCTET STRING } */
function readNameValue(der: Der, what: string): NameValue {
  const reader = new DerReader(der, what);
  const name = readText(reader.next(TAG.bmpString), what);
  const flags = readSmallInteger(reader.next(TAG.integer), what);
  const value = readOctets(reader.next(), what);
  reader.end();
  return { name, flags, value };
}

/** Extension ::= SEQUENCE { extnID, critical BOOLEAN DEFAULT FALSE, extnValue OCTET STRING } (RFC 5280, 4.1) */
function readExtensions(der: Der, what: string): NameValue[] {
  return children(expectTag(der, TAG.sequence, what), what, MAX_ENTRIES).flatMap((each) => {
    const reader = new DerReader(each, what);
    const type = readOid(reader.next(), what);
    const critical = reader.optional(TAG.boolean);
    if (critical) readBoolean(critical, what);
    const value = parseDer(readOctets(reader.next(), what), what);
    reader.end();
    return type === OID.catalogNameValue ? [readNameValue(value, what)] : [];
  });
}

/** The text of an attribute, without the NUL at its end; null if it is no text. */
export function textOf({ flags, value }: NameValue): string | null {
  if ((flags & 0x00010000) === 0 || value.length % 2 !== 0) return null;
  return value.toString('utf16le').replace(/\0$/, '');
}

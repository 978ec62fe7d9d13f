import { createHash } from 'node:crypto';
import { contextPrimitive, TAG } from '../../../lib/asn1/der.ts';
import {
  bitString,
  bmp,
  explicit,
  integer,
  NULL,
  octets,
  oid,
  seq,
  sorted,
  time as encodeTime,
  tlv,
} from '../../../lib/asn1/encode-der.ts';
import { OID } from '../../../lib/asn1/oids.ts';
import { attribute } from '../../../lib/cms/build-signed-data.ts';
import { buildIndirectData, type IndirectData } from '../../authenticode/indirect-data.ts';
import { spcFile } from '../../authenticode/spc-link.ts';

/*
 * Lists of version 2, as inf2cat, makecat and New-FileCatalog -CatalogVersion 2 write them (wincrypt.h's
 * CTL_INFO, mscat.h): `parseTrustList` has their ASN.1.
 */

/** A file that a catalog is to list. */
export interface ListedFile {
  /** A PE file is listed by its Authenticode digest, every other one by the digest of its bytes. */
  readonly kind: 'pe' | 'flat';
  readonly sha256: Buffer;
  /** For readers older than Windows 8: a second entry, as inf2cat writes it. */
  readonly sha1?: Buffer | undefined;
  /** Texts by name; in an entry of its own for each digest. */
  readonly attributes: readonly TextAttribute[];
}

export interface TextAttribute {
  readonly name: string;
  readonly value: string;
}

export interface ListOptions {
  /** Texts about the whole catalog. */
  readonly attributes?: readonly TextAttribute[];
  readonly time: Date;
  /** 16 bytes; Windows' tools draw them at random. By default they follow from the entries, so that equal files give an equal list. */
  readonly listId?: Buffer | undefined;
  /** Whether all SHA-256 entries precede the SHA-1 entries, as in packages, instead of all being sorted together. */
  readonly sha256First?: boolean;
}

const EMPTY_FILE_NAME = spcFile('');

/** How the kinds differ: in an entry's member info, and beside its digest. */
const KINDS: Record<
  ListedFile['kind'],
  { readonly info: Buffer; readonly data: Pick<IndirectData, 'type' | 'value'> }
> = {
  pe: {
    info: tlv(contextPrimitive(0)),
    // Flags 101: unlike signtool in signatures.
    data: {
      type: OID.spcPeImageData,
      value: seq(bitString(Buffer.from([0xa0]), 5), explicit(0, EMPTY_FILE_NAME)),
    },
  },
  // The flat file's SIP has the type of the cabinet's.
  flat: { info: tlv(contextPrimitive(2)), data: { type: OID.spcCabData, value: EMPTY_FILE_NAME } },
};

/** Signed with the catalog (0x10000000), text (0x00010000), named by text (1). */
const TEXT = 0x10010001;

const nameValue = ({ name, value }: TextAttribute): Buffer =>
  seq(bmp(name), integer(TEXT), octets(Buffer.from(`${value}\0`, 'utf16le')));

/** An entry, sortable by its identifier. */
interface Entry {
  readonly identifier: Buffer;
  readonly der: Buffer;
}

function entry(identifier: Buffer, attributes: readonly Buffer[]): Entry {
  return { identifier, der: seq(octets(identifier), tlv(TAG.set, Buffer.concat(sorted(attributes)))) };
}

function entriesOf({ kind, sha256, sha1, attributes }: ListedFile): Entry[] {
  const { info, data } = KINDS[kind];
  const common = [
    attribute(OID.catalogMemberInfo2, info),
    ...attributes.map((each) => attribute(OID.catalogNameValue, nameValue(each))),
  ];
  const { der } = buildIndirectData({ ...data, hash: 'sha256', digest: sha256 });
  return [
    entry(sha256, [...common, attribute(OID.spcIndirectData, der)]),
    ...(sha1 ? [entry(sha1, common)] : []),
  ];
}

/** The list in DER. No two files have the same digest and kind. */
export function buildList(
  files: readonly ListedFile[],
  { attributes = [], time, listId }: ListOptions,
): Buffer {
  const entries = files.flatMap(entriesOf).sort((a, b) => a.identifier.compare(b.identifier));
  // Concatenated, since a function cannot take a hundred thousand arguments.
  const subjects = seq(Buffer.concat(entries.map(({ der }) => der)));
  const extensions = attributes.map((each) => seq(oid(OID.catalogNameValue), octets(nameValue(each))));
  const about = extensions.length > 0 ? [explicit(0, seq(Buffer.concat(extensions)))] : [];
  const derived = createHash('sha256').update(subjects).update(Buffer.concat(about)).digest().subarray(0, 16);
  return seq(
    seq(oid(OID.catalogList)),
    octets(listId ?? derived),
    encodeTime(time),
    seq(oid(OID.catalogListMember2), NULL),
    subjects,
    ...about,
  );
}

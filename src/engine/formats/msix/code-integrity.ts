import { createHash } from 'node:crypto';
import {
  bitString,
  bmp,
  explicit,
  integer,
  NULL,
  octets,
  oid,
  seq,
  set,
  time,
  tlv,
} from '../../../lib/asn1/encode-der.ts';
import { contextPrimitive } from '../../../lib/asn1/der.ts';
import { OID } from '../../../lib/asn1/oids.ts';
import { buildIndirectData } from '../../authenticode/indirect-data.ts';
import type { SignedContent } from '../signable-file.ts';
import type { ProgramDigests } from './programs.ts';

/*
 * AppxMetadata/CodeIntegrity.cat: a certificate trust list (Microsoft, "Certificate Trust List Profile", which is also
 * what catalogs are) of the programs in a package, as the signtool of 2026 writes it.
 */

export const CTL = {
  contentType: '1.3.6.1.4.1.311.10.1',
  catalogList: '1.3.6.1.4.1.311.12.1.1',
  catalogListMember: '1.3.6.1.4.1.311.12.1.3',
  memberInfo: '1.3.6.1.4.1.311.12.2.3',
  nameValue: '1.3.6.1.4.1.311.12.2.1',
} as const;

/** What a catalog of programs says besides their digests. */
export interface CatalogAbout {
  readonly fullName: string;
  readonly time: Date;
  /** 16 bytes, random as signtool writes them. By default they follow from the rest, so that signing can be repeated. */
  readonly listId?: Buffer | undefined;
}

const IMAGE_DATA = seq(bitString(Buffer.from([0xa0]), 5), explicit(0, explicit(2, tlv(contextPrimitive(0)))));
const MEMBER_INFO = seq(oid(CTL.memberInfo), set(tlv(contextPrimitive(0))));

const byBytes = (some: readonly Buffer[]): Buffer[] =>
  [...new Map(some.map((each) => [each.toString('hex'), each])).values()].sort((a, b) => a.compare(b));

function sha256Entry(digest: Buffer): Buffer {
  const { der } = buildIndirectData({ type: OID.spcPeImageData, value: IMAGE_DATA, hash: 'sha256', digest });
  return seq(octets(digest), set(MEMBER_INFO, seq(oid(OID.spcIndirectData), set(der))));
}

const sha1Entry = (digest: Buffer): Buffer => seq(octets(digest), set(MEMBER_INFO));

/** An attribute of the whole catalog; 0x10010001: signed with it, text. */
const nameValue = (name: string, value: string): Buffer =>
  seq(
    oid(CTL.nameValue),
    octets(seq(bmp(name), integer(0x10010001), octets(Buffer.from(`${value}\0`, 'utf16le')))),
  );

/** The trust list that names these programs, to be signed. Equal programs are named once. */
export function buildCatalog(programs: readonly ProgramDigests[], about: CatalogAbout): SignedContent {
  const entries = seq(
    ...byBytes(programs.map(({ sha256 }) => sha256)).map(sha256Entry),
    ...byBytes(programs.map(({ sha1 }) => sha1)).map(sha1Entry),
  );
  const listId =
    about.listId ?? createHash('sha256').update(about.fullName).update(entries).digest().subarray(0, 16);
  const der = seq(
    seq(oid(CTL.catalogList)),
    octets(listId),
    time(about.time),
    seq(oid(CTL.catalogListMember), NULL),
    entries,
    explicit(0, seq(nameValue('PackageFullName', about.fullName), nameValue('OSAttr', '2:6.2'))),
  );
  return { type: CTL.contentType, der };
}

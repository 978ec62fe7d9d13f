import { createHash } from 'node:crypto';
import { DerReader, parseDer, readOctets, readOid, TAG } from '../../../lib/asn1/der.ts';
import { octets, oid, seq, set } from '../../../lib/asn1/encode-der.ts';
import { DIGEST_BYTES, OID, type DigestName, type KnownDigest } from '../../../lib/asn1/oids.ts';
import { invalid } from '../../../lib/errors.ts';
import {
  buildIndirectData,
  readIndirectData,
  requireDigestLength,
} from '../../authenticode/indirect-data.ts';
import { readSpcLink, spcMoniker } from '../../authenticode/spc-link.ts';
import { parsePeImageData } from '../pe/image-data.ts';
import type { FileDigest, SignedContent } from '../signable-file.ts';

/*
 * What signatures of cabinets sign: SpcIndirectDataContent whose type is
 *
 * - 1.3.6.1.4.1.311.2.1.28 with an SpcLink: a moniker whose data is SET { SEQUENCE { szOID_ENHANCED_HASH, SET { OCTET
 *   STRING } } }. signtool writes it, over a hash of the signature's offset (u32, little-endian). A link of another kind has no
 *   meaning.
 * - 1.3.6.1.4.1.311.2.1.25 with an SpcLink of no meaning (osslsigncode) or SpcPeImageData (jsign).
 */

/** The class of the moniker, the same as that of page hashes. */
const CLASS_ID = Buffer.from('a6b586d5b4a12466ae05a217da8e60d6', 'hex');

function offsetHash(hash: KnownDigest, offset: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(offset);
  return createHash(hash).update(bytes).digest();
}

/** The content that signtool signs, for a cabinet whose signature lies at `offset`. */
export function buildCabContent(hash: DigestName, digest: Buffer, offset: number): SignedContent {
  const enhanced = set(seq(oid(OID.spcEnhancedHash), set(octets(offsetHash(hash, offset)))));
  return buildIndirectData({ type: OID.spcLink, value: spcMoniker(CLASS_ID, enhanced), hash, digest });
}

/**
 * Reads what a signature of a cabinet signs, whose signature lies at `offset`; throws `authenticode-…`,
 * `cab-offset-hash-differs`, `cms-digest-unknown` or `der-malformed`.
 */
export function readCabContent(content: SignedContent, offset: number, what: string): FileDigest {
  const indirect = readIndirectData(content, what);
  requireDigestLength(indirect, what);
  const { type, value } = indirect;
  if (type === OID.spcLink) requireOffsetHash(value, offset, what);
  else if (type === OID.spcCabData) requireMeaningless(value, what);
  else throw invalid('authenticode-kind', `${what}: signs content type ${type}, expected that of a cabinet`);
  return indirect;
}

function requireOffsetHash(value: Buffer, offset: number, what: string): void {
  const link = readSpcLink(parseDer(value, what), what);
  if (link.kind !== 'moniker') return;
  if (!link.classId.equals(CLASS_ID))
    throw invalid('authenticode-kind', `${what}: its link is not that of a signed cabinet`);
  const attributes = DerReader.of(link.data, what, TAG.set);
  const attribute = new DerReader(attributes.next(), what);
  attributes.end();
  const type = readOid(attribute.next(), what);
  const values = new DerReader(attribute.next(), what, TAG.set);
  attribute.end();
  const enhanced = readOctets(values.next(), what);
  values.end();
  if (type !== OID.spcEnhancedHash)
    throw invalid('authenticode-kind', `${what}: its link holds ${type}, expected an enhanced hash`);
  const hash = HASHES.find((name) => DIGEST_BYTES[name] === enhanced.length);
  if (!hash || !offsetHash(hash, offset).equals(enhanced))
    throw invalid(
      'cab-offset-hash-differs',
      `${what}: its enhanced hash is not that of the signature's offset, ${offset}`,
    );
}

const HASHES: readonly KnownDigest[] = ['sha256', 'sha384', 'sha512', 'sha1', 'md5'];

/** Checks that the value of osslsigncode's and jsign's content is a whole one; nothing uses it. */
function requireMeaningless(value: Buffer, what: string): void {
  const der = parseDer(value, what);
  if (der.tag === TAG.sequence) parsePeImageData(value, what);
  else readSpcLink(der, what);
}

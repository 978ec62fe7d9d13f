import {
  bitString,
  context,
  DerReader,
  explicit,
  octets,
  oid,
  parseDer,
  readBitString,
  readOctets,
  readOid,
  seq,
  TAG,
} from '../../lib/asn1/der.ts';
import { DIGEST_BYTES, digestName, OID, type DigestName, type KnownDigest } from '../../lib/asn1/oids.ts';
import { algorithm, readAlgorithm } from '../../lib/cms/signed-data.ts';
import { invalid } from '../../lib/errors.ts';
import { readSpcLink, spcFile, type SpcLink } from './spc-link.ts';

/*
 * Microsoft, "Windows Authenticode Portable Executable Signature Format":
 *
 *   SpcIndirectDataContent ::= SEQUENCE { data SpcAttributeTypeAndOptionalValue, messageDigest DigestInfo }
 *   SpcAttributeTypeAndOptionalValue ::= SEQUENCE { type ObjectID, value [0] EXPLICIT ANY OPTIONAL }
 *   DigestInfo ::= SEQUENCE { digestAlgorithm AlgorithmIdentifier, digest OCTET STRING }
 *   SpcPeImageData ::= SEQUENCE { flags SpcPeImageFlags DEFAULT { includeResources }, file SpcLink }
 *
 * What is written departs from that text in two places, for everybody: the value bears no [0], and
 * SpcPeImageData's file does, EXPLICIT.
 */

/** What an Authenticode signature is over: a kind of file, and the digest of one. */
export interface IndirectData {
  /** Which kind of file: `OID.spcPeImageData` for PE. */
  readonly type: string;
  /** What that kind has to say, DER. */
  readonly value: Buffer;
  readonly hash: KnownDigest;
  readonly digest: Buffer;
}

/** `type` and `value` for a PE file: includeResources, and the file name that never was of use. */
export const peImageData: Pick<IndirectData, 'type' | 'value'> = {
  type: OID.spcPeImageData,
  value: seq(bitString(Buffer.from([0x80]), 7), explicit(0, spcFile('<<<Obsolete>>>'))),
};

/** SpcIndirectDataContent, DER. */
export const buildIndirectData = (content: IndirectData & { readonly hash: DigestName }): Buffer =>
  seq(seq(oid(content.type), content.value), seq(algorithm(OID[content.hash]), octets(content.digest)));

/** Reads SpcIndirectDataContent, every byte; throws `der-malformed`, `cms-digest-unknown` or `authenticode-digest-length`. */
export function parseIndirectData(der: Buffer, what: string): IndirectData {
  const content = DerReader.of(der, what);
  const data = new DerReader(content.next(), what);
  const info = new DerReader(content.next(), what);
  content.end();
  const type = readOid(data.next(), what);
  const value = data.next(TAG.sequence).raw;
  data.end();
  const algorithmOid = readAlgorithm(info.next(), what);
  const digest = readOctets(info.next(), what);
  info.end();
  const hash = digestName(algorithmOid);
  if (!hash) throw invalid('cms-digest-unknown', `${what}: unknown digest algorithm ${algorithmOid}`);
  if (digest.length !== DIGEST_BYTES[hash])
    throw invalid('authenticode-digest-length', `${what}: a ${hash} digest of ${digest.length} bytes`);
  return { type, value, hash, digest };
}

export interface PeImageData {
  /** SpcPeImageFlags, first bit first; signtool writes none, osslsigncode includeResources. Nobody heeds them. */
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

import { DerReader, readOctets, readOid } from '../../lib/asn1/der.ts';
import { octets, oid, seq } from '../../lib/asn1/encode-der.ts';
import { DIGEST_BYTES, digestName, OID, type DigestName } from '../../lib/asn1/oids.ts';
import { algorithm } from '../../lib/cms/build-signed-data.ts';
import { readAlgorithm } from '../../lib/cms/signed-data.ts';
import { invalid } from '../../lib/errors.ts';
import type { FileDigest, SignedContent } from '../formats/signable-file.ts';

/*
 * Microsoft, "Windows Authenticode Portable Executable Signature Format":
 *
 *   SpcIndirectDataContent ::= SEQUENCE { data SpcAttributeTypeAndOptionalValue, messageDigest DigestInfo }
 *   SpcAttributeTypeAndOptionalValue ::= SEQUENCE { type ObjectID, value [0] EXPLICIT ANY OPTIONAL }
 *   DigestInfo ::= SEQUENCE { digestAlgorithm AlgorithmIdentifier, digest OCTET STRING }
 *
 * All signers depart from that text in one place: the value has no tag [0].
 */

/** What most Authenticode signatures sign: a kind of file, and the digest of one. */
export interface IndirectData extends FileDigest {
  /** Names the kind of file. */
  readonly type: string;
  /** Data of that kind of file, DER. */
  readonly value: Buffer;
}

/** SpcIndirectDataContent, to be signed. */
export const buildIndirectData = (data: IndirectData & { readonly hash: DigestName }): SignedContent => ({
  type: OID.spcIndirectData,
  der: seq(seq(oid(data.type), data.value), seq(algorithm(OID[data.hash]), octets(data.digest))),
});

/** Reads SpcIndirectDataContent, every byte; throws `authenticode-content`, `der-malformed` or `cms-digest-unknown`. */
export function readIndirectData({ type: contentType, der }: SignedContent, what: string): IndirectData {
  if (contentType !== OID.spcIndirectData)
    throw invalid(
      'authenticode-content',
      `${what}: signs content type ${contentType}, not the digest of a file`,
    );
  const content = DerReader.of(der, what);
  const data = new DerReader(content.next(), what);
  const info = new DerReader(content.next(), what);
  content.end();
  const type = readOid(data.next(), what);
  const value = data.next().raw;
  data.end();
  const algorithmOid = readAlgorithm(info.next(), what);
  const digest = readOctets(info.next(), what);
  info.end();
  const hash = digestName(algorithmOid);
  if (!hash) throw invalid('cms-digest-unknown', `${what}: unknown digest algorithm ${algorithmOid}`);
  return { type, value, hash, digest };
}

/** Throws `authenticode-digest-length` unless the digest is one, neither cut nor several. */
export function requireDigestLength({ hash, digest }: FileDigest, what: string): void {
  if (digest.length !== DIGEST_BYTES[hash])
    throw invalid('authenticode-digest-length', `${what}: a ${hash} digest of ${digest.length} bytes`);
}

import { createHash } from 'node:crypto';
import { integer, octets, seq } from '../../../lib/asn1/encode-der.ts';
import { DIGEST_BYTES, type DigestName, type KnownDigest } from '../../../lib/asn1/oids.ts';
import type { ByteSource } from '../../../lib/bytes/byte-source.ts';
import { whole } from '../../../lib/bytes/concatenated-source.ts';
import { hashRanges } from '../../../lib/bytes/hash-and-compare.ts';
import { invalid } from '../../../lib/errors.ts';
import { buildIndirectData, readIndirectData } from '../../authenticode/indirect-data.ts';
import type { FileDigest, SignedContent } from '../signable-file.ts';

/** SpcSipInfo (1.3.6.1.4.1.311.2.1.30): names the module of Windows that computes the digest. */
const SIP_INFO = '1.3.6.1.4.1.311.2.1.30';

/** The UUIDs of the modules for packages and bundles, as they are written. */
const MODULES = {
  package: Buffer.from('4bdfc50a07cee24db76e23c839a09fd1', 'hex'),
  bundle: Buffer.from('b3585f0fdeaa9a4ba43495742d92eceb', 'hex'),
};

const sipInfo = (kind: 'package' | 'bundle'): Buffer =>
  seq(integer(0x01010000), octets(MODULES[kind]), ...Array.from({ length: 5 }, () => integer(0)));

/** What the digest of a package covers. */
export interface DigestInput {
  /** Everything before the signature's entry. */
  readonly body: ByteSource;
  /** The directory and end records that the file would have if it ended before the signature's entry. */
  readonly tail: Buffer;
  /** Uncompressed. */
  readonly contentTypes: Buffer;
  readonly blockMap: Buffer;
  readonly catalog: Buffer | null;
}

/** The digests of a package, one after another: each with four letters before it. */
export async function packageDigests(hash: KnownDigest, input: DigestInput): Promise<Buffer> {
  const body = await hashRanges([whole(input.body)], { algorithm: hash });
  const of = (bytes: Buffer): Buffer => createHash(hash).update(bytes).digest();
  return Buffer.concat([
    Buffer.from('APPX'),
    ...tagged('AXPC', body.digest),
    ...tagged('AXCD', of(input.tail)),
    ...tagged('AXCT', of(input.contentTypes)),
    ...tagged('AXBM', of(input.blockMap)),
    ...(input.catalog ? tagged('AXCI', of(input.catalog)) : []),
  ]);
}

const tagged = (tag: string, digest: Buffer): Buffer[] => [Buffer.from(tag), digest];

export const packageContent = (kind: 'package' | 'bundle', hash: DigestName, digest: Buffer): SignedContent =>
  buildIndirectData({ type: SIP_INFO, value: sipInfo(kind), hash, digest });

/** Reads what a signature signs, of a package, of a bundle, or if `kind` is null of either; throws `authenticode-…`, `cms-digest-unknown` or `der-malformed`. */
export function readPackageContent(
  content: SignedContent,
  kind: 'package' | 'bundle' | null,
  what: string,
): FileDigest {
  const { type, value, hash, digest } = readIndirectData(content, what);
  const kinds = kind ? [kind] : (['package', 'bundle'] as const);
  if (type !== SIP_INFO || !kinds.some((each) => value.equals(sipInfo(each))))
    throw invalid(
      'authenticode-kind',
      `${what}: signs content type ${type}, expected that of a ${kinds.join(' or ')}`,
    );
  const several = (digest.length - 4) / (4 + DIGEST_BYTES[hash]);
  if (several !== 4 && several !== 5)
    throw invalid(
      'authenticode-digest-length',
      `${what}: ${digest.length} bytes of ${hash} digests, expected those of four or five parts`,
    );
  return { hash, digest };
}

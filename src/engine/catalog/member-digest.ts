import { createHash } from 'node:crypto';
import { invalid } from '../../lib/errors.ts';
import type { ByteSource } from '../../lib/bytes/byte-source.ts';
import { hashRanges } from '../../lib/bytes/hash-and-compare.ts';
import { whole } from '../../lib/bytes/concatenated-source.ts';
import { HEAD_SIZE } from '../formats/recognize.ts';
import { pe } from '../formats/pe/pe-file.ts';
import type { SignableFile } from '../formats/signable-file.ts';

/** The digests of a file as catalogs list them. */
export interface MemberDigest {
  readonly kind: 'pe' | 'flat';
  readonly digest: (hash: 'sha256' | 'sha1') => Promise<Buffer>;
  /** The open file, if it is a PE file. */
  readonly program: SignableFile | null;
}

const CABINET = Buffer.from('MSCF', 'latin1');

/**
 * Windows knows three kinds of files in catalogs (CryptSIPRetrieveSubjectGuidForCatalogFile): PE files, cabinets, and all
 * others. PE files are listed by their Authenticode digest, so that they can be signed before or afterwards. Throws `catalog-cabinet`, and
 * what opening a PE file throws.
 */
export async function memberDigest(source: ByteSource): Promise<MemberDigest> {
  const head = await source.read(0, Math.min(source.size, HEAD_SIZE));
  if (pe.looksLike(head, source.name)) {
    const program = await pe.open(source);
    return { kind: 'pe', digest: (hash) => program.digest(hash), program };
  }
  if (head.subarray(0, CABINET.length).equals(CABINET))
    throw invalid(
      'catalog-cabinet',
      `${source.name}: a cabinet, and which digest of one Windows takes is not known`,
      {
        hint: 'sign the cabinet itself, and leave it out of the catalog',
      },
    );
  return { kind: 'flat', digest: (hash) => flatDigest(source, hash), program: null };
}

const flatDigest = async (source: ByteSource, algorithm: string): Promise<Buffer> =>
  source.size === 0
    ? createHash(algorithm).digest()
    : (await hashRanges([whole(source)], { algorithm })).digest;

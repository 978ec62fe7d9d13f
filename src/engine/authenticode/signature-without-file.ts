import type { KnownDigest } from '../../lib/asn1/oids.ts';
import type { FileDigest, SignatureScheme, SignedContent } from '../formats/signature-scheme.ts';
import type { SignatureWithoutFile } from '../formats/signable-file.ts';
import { authenticode } from './cms-scheme.ts';
import { readIndirectData, requireDigestLength } from './indirect-data.ts';

/** How a signature is read without its file. */
interface Reading {
  /** Authenticode unless given. */
  readonly scheme?: SignatureScheme;
  /** As `SignableFile.readContent`; reads SpcIndirectDataContent of any kind of file unless given. */
  readonly readContent?: (content: SignedContent, signerHash: KnownDigest, what: string) => FileDigest;
}

function readAnyIndirectData(content: SignedContent, _signerHash: KnownDigest, what: string): FileDigest {
  const indirect = readIndirectData(content, what);
  requireDigestLength(indirect, what);
  return indirect;
}

/** Reads a signature without its file, and after it those that are nested in it. Throws as `SignatureScheme.read` does. */
export function readWithoutFile(
  bytes: Buffer,
  what: string,
  { scheme = authenticode, readContent = readAnyIndirectData }: Reading = {},
): SignatureWithoutFile[] {
  const primary = scheme.read(bytes, what);
  const all = [primary, ...primary.nested.map((nested) => scheme.read(nested, what))];
  return all.map((signature) => ({
    signature,
    digest: () => readContent(signature.content, signature.digestAlgorithm(what), what),
  }));
}

import { bitString, explicit, seq } from '../../../lib/asn1/encode-der.ts';
import { context, DerReader, parseDer, readBitString, TAG } from '../../../lib/asn1/der.ts';
import { OID } from '../../../lib/asn1/oids.ts';
import { invalid } from '../../../lib/errors.ts';
import {
  readIndirectData,
  requireDigestLength,
  type IndirectData,
} from '../../authenticode/indirect-data.ts';
import { readSpcLink, spcFile, type SpcLink } from '../../authenticode/spc-link.ts';
import type { FileDigest, SignedContent } from '../signable-file.ts';

/*
 * Microsoft, "Windows Authenticode Portable Executable Signature Format":
 *
 *   SpcPeImageData ::= SEQUENCE { flags SpcPeImageFlags DEFAULT { includeResources }, file SpcLink }
 *
 * Signers depart from that text: the file has the tag [0] EXPLICIT.
 */

/** `type` and `value` of the indirect data for a PE file: includeResources, and the file name that nothing uses. */
export const peImageData: Pick<IndirectData, 'type' | 'value'> = {
  type: OID.spcPeImageData,
  value: seq(bitString(Buffer.from([0x80]), 7), explicit(0, spcFile('<<<Obsolete>>>'))),
};

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

/** The second one has another meaning; Debian's EFI programs are signed with it nevertheless. */
const TYPES: readonly string[] = [OID.spcPeImageData, OID.spcIndividualPurpose];

/** Reads what a signature of a PE file signs; throws `authenticode-…`, `cms-digest-unknown` or `der-malformed`. */
export function readPeContent(content: SignedContent, what: string): FileDigest {
  const indirect = readIndirectData(content, what);
  requireDigestLength(indirect, what);
  if (!TYPES.includes(indirect.type))
    throw invalid(
      'authenticode-kind',
      `${what}: signs content type ${indirect.type}, expected PE image data`,
    );
  parsePeImageData(indirect.value, what);
  return indirect;
}

import { DerReader, readSmallInteger, TAG } from '../../../lib/asn1/der.ts';
import { integer, seq } from '../../../lib/asn1/encode-der.ts';
import { invalid } from '../../../lib/errors.ts';
import type { DosTime } from '../../../lib/zip/edit-entries.ts';

/**
 * What signing adds to a package:
 *
 *   DetachedPackageSignature ::= SEQUENCE {
 *     signature  ContentInfo,           -- that of AppxSignature.p7x
 *     date       INTEGER,               -- in the headers of its entry, as MS-DOS writes it
 *     time       INTEGER,
 *     catalog    ContentInfo OPTIONAL } -- AppxMetadata/CodeIntegrity.cat
 */
export interface DetachedMsix {
  /** PKCS #7 ContentInfo, DER. */
  readonly signature: Buffer;
  /** null if only the signature was given. */
  readonly at: DosTime | null;
  readonly catalog: Buffer | null;
}

export const writeDetached = ({ signature, at, catalog }: DetachedMsix & { readonly at: DosTime }): Buffer =>
  seq(signature, integer(at.date), integer(at.time), ...(catalog ? [catalog] : []));

/** Reads what `writeDetached` wrote, or a signature alone. Throws `der-malformed` and `msix-detached`. */
export function readDetached(bytes: Buffer, what: string): DetachedMsix {
  const reader = DerReader.of(bytes, what);
  const first = reader.next();
  if (first.tag === TAG.oid) return { signature: bytes, at: null, catalog: null };
  const [date, time] = [reader.next(), reader.next()].map((each) => readSmallInteger(each, what));
  const catalog = reader.optional(TAG.sequence);
  reader.end();
  if (
    first.tag !== TAG.sequence ||
    date === undefined ||
    date > 0xffff ||
    time === undefined ||
    time > 0xffff
  )
    throw invalid('msix-detached', `${what}: not the detached signature of a package`);
  return { signature: first.raw, at: { date, time }, catalog: catalog?.raw ?? null };
}

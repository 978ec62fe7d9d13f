import { octets } from '../../../lib/asn1/encode-der.ts';
import { readDer, readOctets, TAG, type Der } from '../../../lib/asn1/der.ts';
import { invalid } from '../../../lib/errors.ts';
import { readWithoutFile } from '../../authenticode/signature-without-file.ts';
import type { SignatureWithoutFile } from '../signable-file.ts';
import { readMsiContent } from './msi-content.ts';

/*
 * A detached signature of a package is its signature (PKCS #7 in DER) and, if the root's modification time does not follow
 * from that, this time after it: an OCTET STRING with the 8 bytes of a FILETIME. Readers of PKCS #7 stop before it.
 */

/** All that signing adds to a package. */
export interface DetachedMsi {
  readonly signature: Buffer;
  /** The root's modification time, 8 bytes; undefined if it follows from the signature. */
  readonly modified: Buffer | undefined;
}

export const joinDetached = ({ signature, modified }: DetachedMsi): Buffer =>
  modified ? Buffer.concat([signature, octets(modified)]) : signature;

/** Throws `der-malformed` or `msi-detached`. */
export function splitDetached(detached: Buffer, what: string): DetachedMsi {
  const { der, rest } = readDer(detached, what);
  if (rest.length === 0) return { signature: der.raw, modified: undefined };
  const modified = readOctets(onlyValue(rest, what), what);
  if (modified.length === 8) return { signature: der.raw, modified };
  throw invalid(
    'msi-detached',
    `${what}: a time of ${modified.length} bytes instead of 8 follows the signature`,
  );
}

function onlyValue(bytes: Buffer, what: string): Der {
  const { der, rest } = readDer(bytes, what);
  if (rest.length === 0 && der.tag === TAG.octetString) return der;
  throw invalid('msi-detached', `${what}: something other than a time follows the signature`);
}

/** Reads what `MsiFile.detached` returned, without the file; see `FileFormat.readDetached`. */
export const readDetachedMsi = (detached: Buffer, what: string): SignatureWithoutFile[] =>
  readWithoutFile(splitDetached(detached, what).signature, what, {
    readContent: (content) => readMsiContent(content, what),
  });

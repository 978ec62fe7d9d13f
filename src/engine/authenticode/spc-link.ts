import { bmpOctets, explicit, octets, tlv } from '../../lib/asn1/encode-der.ts';
import {
  context,
  contextPrimitive,
  DerReader,
  expectTag,
  parseDer,
  readOctets,
  readText,
  TAG,
  type Der,
} from '../../lib/asn1/der.ts';
import { invalid } from '../../lib/errors.ts';

/*
 * Microsoft, "Windows Authenticode Portable Executable Signature Format":
 *
 *   SpcString ::= CHOICE { unicode [0] IMPLICIT BMPSTRING, ascii [1] IMPLICIT IA5STRING }
 *   SpcLink   ::= CHOICE { url [0] IMPLICIT IA5STRING, moniker [1] IMPLICIT SpcSerializedObject,
 *                          file [2] EXPLICIT SpcString }
 *   SpcSerializedObject ::= SEQUENCE { classId OCTET STRING, serializedData OCTET STRING }
 */

export type SpcLink =
  | { readonly kind: 'url'; readonly url: string }
  | { readonly kind: 'file'; readonly file: string }
  | { readonly kind: 'moniker'; readonly classId: Buffer; readonly data: Buffer };

/** SpcString as BMPString, which is what signtool writes, and which holds any text. */
export const spcString = (text: string): Buffer => tlv(contextPrimitive(0), bmpOctets(text));

export const spcFile = (file: string): Buffer => explicit(2, spcString(file));

/** `url` has to be ASCII. */
export const spcUrl = (url: string): Buffer => tlv(contextPrimitive(0), Buffer.from(url, 'latin1'));

/** An SpcSerializedObject: `data` is of a kind that the class names. */
export const spcMoniker = (classId: Buffer, data: Buffer): Buffer =>
  tlv(context(1), octets(classId), octets(data));

/** SpcString, either choice. */
export function readSpcString(der: Der, what: string): string {
  const tag = der.tag === contextPrimitive(0) ? TAG.bmpString : TAG.ia5String;
  if (tag === TAG.ia5String) expectTag(der, contextPrimitive(1), what);
  return readText({ tag, raw: der.raw, body: der.body }, what);
}

/** SpcLink, every choice. */
export function readSpcLink(der: Der, what: string): SpcLink {
  switch (der.tag) {
    case contextPrimitive(0):
      return { kind: 'url', url: der.body.toString('latin1') };
    case context(1): {
      const reader = new DerReader(der, what, context(1));
      const [classId, data] = [readOctets(reader.next(), what), readOctets(reader.next(), what)];
      reader.end();
      return { kind: 'moniker', classId, data };
    }
    case context(2):
      return { kind: 'file', file: readSpcString(parseDer(der.body, what), what) };
    default:
      throw invalid('der-malformed', `${what}: not an SpcLink: tag 0x${der.tag.toString(16)}`);
  }
}

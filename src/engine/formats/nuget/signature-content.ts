import { parseDer, readOctets } from '../../../lib/asn1/der.ts';
import { octets } from '../../../lib/asn1/encode-der.ts';
import { digestName, OID, type DigestName } from '../../../lib/asn1/oids.ts';
import { invalid, type SignpipeError } from '../../../lib/errors.ts';
import { requireDigestLength } from '../../authenticode/indirect-data.ts';
import type { FileDigest, SignedContent } from '../signable-file.ts';

/*
 * NuGet, "Package Signatures Technical Specification", "Signature content": a header and a body of lines `NAME:VALUE`, each
 * ended by an empty line, as the octets of id-data.
 */

/** Version 1 has one digest. Lines may end in CR LF: the text is signed as it is. */
const CONTENT = /^Version:1\r?\n\r?\n([0-9.]{1,64})-Hash:([A-Za-z0-9+/]{1,128}={0,2})\r?\n\r?\n$/;

/** What a signature over a package with this digest signs. */
export const buildContent = (hash: DigestName, digest: Buffer): SignedContent => ({
  type: OID.data,
  der: octets(Buffer.from(`Version:1\n\n${OID[hash]}-Hash:${digest.toString('base64')}\n\n`)),
});

const badContent = (what: string, why: string): SignpipeError =>
  invalid('nuget-content', `${what}: ${why}, not the digest of a package`);

/** The digest that a signature's content states; throws `nuget-content`, `cms-digest-unknown` or `der-malformed`. */
export function readContent({ type, der }: SignedContent, what: string): FileDigest {
  if (type !== OID.data) throw badContent(what, `it signs content type ${type}`);
  const text = readOctets(parseDer(der, what), what).toString('latin1');
  const [, oid = '', base64 = ''] = CONTENT.exec(text) ?? [];
  if (oid === '') throw badContent(what, 'it signs other text');
  const hash = digestName(oid);
  if (!hash) throw invalid('cms-digest-unknown', `${what}: unknown digest algorithm ${oid}`);
  const digest = Buffer.from(base64, 'base64');
  if (digest.toString('base64') !== base64) throw badContent(what, 'it signs a digest that is not base64');
  requireDigestLength({ hash, digest }, what);
  return { hash, digest };
}

import { createHash } from 'node:crypto';
import type { Element } from '@xmldom/xmldom';
import type { KnownDigest } from '../../../lib/asn1/oids.ts';
import { invalid, type SignpipeError } from '../../../lib/errors.ts';
import { attributeText } from '../../../lib/xml/parse-xml.ts';
import { digestOf, digestUri, type XmlDigest } from './algorithms.ts';
import { C14N } from './names.ts';
import { attributesIn, childrenIn, only, readBase64 } from './strict-xml.ts';

/** What a signature states about one part. */
export interface Reference {
  /** The name of the part, with `/` before it. */
  readonly part: string;
  readonly type: string;
  /** Whether the digest is that of the part's Canonical XML, and not of its bytes. */
  readonly canonical: boolean;
  readonly hash: XmlDigest;
  readonly digest: Buffer;
}

const malformed = (what: string, why: string): SignpipeError => invalid('opc-reference', `${what}: ${why}`);

/**
 * The references of a Manifest (ECMA-376 part 2, 12.2.4.7) in their order. Each part once, or several times with the same
 * digest; no transformation but Canonical XML. Throws `opc-reference` and `opc-signature`.
 */
export function readManifest(manifest: Element, what: string): Reference[] {
  const all = childrenIn(manifest, ['Reference'], what).map((each) => readReference(each, what));
  const byPart = new Map<string, string>();
  for (const { part, type, canonical, digest } of all) {
    const stated = `${type} ${String(canonical)} ${digest.toString('hex')}`;
    const key = part.toLowerCase();
    if ((byPart.get(key) ?? stated) !== stated)
      throw malformed(what, `it states two digests of the part ${part}`);
    byPart.set(key, stated);
  }
  return all;
}

const URI = /^(\/[^?#]+)\?ContentType=([^?#]+)$/;

function readReference(reference: Element, what: string): Reference {
  const { URI: uri = '' } = attributesIn(reference, ['URI'], what);
  const [, part = '', type = ''] = URI.exec(uri) ?? [];
  if (part === '')
    throw malformed(what, `it refers to ${uri.slice(0, 100)}, not to a part with its content type`);
  const { canonical, hash, digest } = readDigest(reference, what);
  return { part, type, canonical, hash, digest };
}

/** Transforms, DigestMethod and DigestValue of a Reference; throws `opc-reference` and `opc-signature`. */
export function readDigest(
  reference: Element,
  what: string,
): Pick<Reference, 'canonical' | 'hash' | 'digest'> {
  const children = childrenIn(reference, ['Transforms', 'DigestMethod', 'DigestValue'], what);
  const transforms = children.filter(({ localName }) => localName === 'Transforms');
  const named = transforms.flatMap((each) => childrenIn(each, ['Transform'], what));
  const algorithms = named.map((each) => attributesIn(each, ['Algorithm'], what)['Algorithm']);
  if (transforms.length > 1 || algorithms.length > 1 || algorithms.some((each) => each !== C14N))
    throw malformed(what, `a part is transformed by ${algorithms.join(', ').slice(0, 200)}`);
  const method = only(children, 'DigestMethod', what);
  const hash = digestOf(attributesIn(method, ['Algorithm'], what)['Algorithm'] ?? null);
  if (!hash) throw invalid('cms-digest-unknown', `${what}: a digest by an unknown algorithm`);
  const digest = readBase64(only(children, 'DigestValue', what), what);
  return { canonical: algorithms.length > 0, hash, digest };
}

/** A Reference in the form in which .NET writes it. */
export function writeReference({ part, type, canonical, hash, digest }: Reference): string {
  const transforms = canonical ? `<Transforms><Transform Algorithm="${C14N}" /></Transforms>` : '';
  return (
    `<Reference URI="${attributeText(`${part}?ContentType=${type}`)}">${transforms}` +
    `<DigestMethod Algorithm="${digestUri(hash)}" /><DigestValue>${digest.toString('base64')}</DigestValue></Reference>`
  );
}

/**
 * The digest of a package: of a line for each of its files with name, content type and digest, sorted by name. Parts with
 * relationships are left out, since signing changes them; their references are checked one by one.
 */
export function packageDigest(
  references: readonly Pick<Reference, 'part' | 'type' | 'digest'>[],
  hash: KnownDigest,
): Buffer {
  const lines = references.map(({ part, type, digest }) => `${part} ${type} ${digest.toString('hex')}\n`);
  return createHash(hash)
    .update([...new Set(lines)].sort().join(''))
    .digest();
}

import { createHash } from 'node:crypto';
import type { Element } from '@xmldom/xmldom';
import { invalid, type SignpipeError } from '../../../lib/errors.ts';
import { childElements, parseXml } from '../../../lib/xml/parse-xml.ts';

/** Who a package is, by its manifest. */
export interface Identity {
  readonly name: string;
  /** The subject of the certificate that may sign it. */
  readonly publisher: string;
  readonly version: string;
  readonly architecture: string;
  readonly resourceId: string;
}

/** A package inside of a bundle, by the bundle's manifest. */
export interface BundledPackage {
  readonly fileName: string;
  /** Where its content begins in the bundle, in bytes; null in a flat bundle, whose packages lie beside it. */
  readonly offset: number | null;
  /** In bytes. */
  readonly size: number | null;
}

/** Roots of manifests, whose namespaces differ by the version of Windows. */
const ROOT = {
  package: {
    element: 'Package',
    namespaces:
      /^http:\/\/schemas\.microsoft\.com\/appx\/(?:manifest\/foundation\/windows\d+|\d{4}\/manifest)$/,
  },
  bundle: {
    element: 'Bundle',
    namespaces: /^http:\/\/schemas\.microsoft\.com\/appx\/\d{4}\/bundle$/,
  },
};

const faulty = (what: string, why: string): SignpipeError =>
  invalid('msix-manifest', `${what}: its manifest ${why}`);

/** Reads the identity in the manifest of a package or bundle; throws `msix-manifest` and `xml-…`. */
export function readIdentity(manifest: Buffer, kind: 'package' | 'bundle', what: string): Identity {
  const root = rootOf(manifest, kind, what);
  const [identity, another] = childElements(root).filter(({ localName }) => localName === 'Identity');
  if (!identity || another) throw faulty(what, `has not one Identity`);
  const required = (name: string): string => {
    const value = identity.getAttribute(name);
    if (value) return value;
    throw faulty(what, `gives no ${name}`);
  };
  return {
    name: required('Name'),
    publisher: required('Publisher'),
    version: required('Version'),
    architecture: identity.getAttribute('ProcessorArchitecture') || 'neutral',
    resourceId: identity.getAttribute('ResourceId') ?? '',
  };
}

function rootOf(manifest: Buffer, kind: 'package' | 'bundle', what: string): Element {
  const root = parseXml(manifest, `${what}: manifest`).documentElement;
  const { element, namespaces } = ROOT[kind];
  if (root?.localName === element && namespaces.test(root.namespaceURI ?? '')) return root;
  throw faulty(what, `is not that of a ${kind}`);
}

/** The packages that the manifest of a bundle lists. */
export function readBundledPackages(manifest: Buffer, what: string): BundledPackage[] {
  const lists = childElements(rootOf(manifest, 'bundle', what)).filter(
    ({ localName }) => localName === 'Packages',
  );
  return lists.flatMap(childElements).map((each) => {
    const fileName = each.getAttribute('FileName');
    if (each.localName !== 'Package' || !fileName) throw faulty(what, 'lists something other than packages');
    return { fileName, offset: numberIn(each, 'Offset', what), size: numberIn(each, 'Size', what) };
  });
}

/** A whole number up to 2^53 in decimal digits; null if the attribute is not there. */
function numberIn(element: Element, name: string, what: string): number | null {
  const text = element.getAttribute(name);
  if (text === null) return null;
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw faulty(what, `has ${name}="${text.slice(0, 40)}", which is no number`);
}

/** Digits of Crockford's base 32. */
const DIGITS = '0123456789abcdefghjkmnpqrstvwxyz';

/**
 * The 13 characters that stand for the publisher in the full name of a package: the first 64 bits of the SHA-256 of its
 * text in UTF-16, in base 32, padded with one zero bit.
 */
export function publisherId(publisher: string): string {
  const hash = createHash('sha256').update(publisher, 'utf16le').digest();
  const bits = hash.readBigUInt64BE(0) << 1n;
  return Array.from({ length: 13 }, (_, at) => DIGITS[Number((bits >> BigInt(5 * (12 - at))) & 31n)]).join(
    '',
  );
}

/** What Windows calls this version of a package. */
export const packageFullName = ({ name, version, architecture, resourceId, publisher }: Identity): string =>
  [name, version, architecture, resourceId, publisherId(publisher)].join('_');

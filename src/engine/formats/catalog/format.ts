import { loadedOnce } from '../../../lib/concurrency/loaded-once.ts';
import { oid } from '../../../lib/asn1/encode-der.ts';
import { OID } from '../../../lib/asn1/oids.ts';
import type { FileFormat } from '../signable-file.ts';
import { requireCatalogSize } from './catalog-size.ts';

const loadCatalogFile = loadedOnce(() => import('./catalog-file.ts'));

/** The body of the value at `at`, and its end; null unless it has this tag and a length that is usual in DER. */
function valueAt(head: Buffer, at: number, tag: number): { start: number; end: number } | null {
  const first = head[at + 1] ?? 0xff;
  const octets = first < 0x80 ? 0 : first & 0x7f;
  if (head[at] !== tag || octets > 4 || at + 2 + octets > head.length) return null;
  const start = at + 2 + octets;
  return { start, end: start + (octets === 0 ? first : head.readUIntBE(at + 2, octets)) };
}

const SIGNED_DATA = oid(OID.signedData);
const CTL = oid(OID.ctl);

/** Whether a file begins as SignedData over a certificate trust list: ContentInfo, version, digest algorithms, content. */
function looksLikeTrustList(head: Buffer): boolean {
  const info = valueAt(head, 0, 0x30);
  if (!info || !head.subarray(info.start).subarray(0, SIGNED_DATA.length).equals(SIGNED_DATA)) return false;
  const wrapped = valueAt(head, info.start + SIGNED_DATA.length, 0xa0);
  const data = wrapped && valueAt(head, wrapped.start, 0x30);
  const version = data && valueAt(head, data.start, 0x02);
  const digests = version && valueAt(head, version.end, 0x31);
  const content = digests && valueAt(head, digests.end, 0x30);
  return content ? head.subarray(content.start).subarray(0, CTL.length).equals(CTL) : false;
}

export const catalog: FileFormat = {
  name: 'catalog',
  description: 'security catalogs (.cat), which list the digests of files',
  extensions: ['cat'],
  looksLike: looksLikeTrustList,
  requireSize: requireCatalogSize,
  open: async (source) => (await loadCatalogFile()).openCatalog(source),
  readDetached: async (detached, what) => (await loadCatalogFile()).readDetachedCatalog(detached, what),
};

import { OID } from '../../../lib/asn1/oids.ts';
import { buildList, type ListedFile } from '../catalog/build-list.ts';
import type { SignedContent } from '../signable-file.ts';
import type { ProgramDigests } from './programs.ts';

/*
 * AppxMetadata/CodeIntegrity.cat: a catalog of the programs in a package, as the signtool of 2026 writes it.
 */

/** What a catalog of programs says besides their digests. */
export interface CatalogAbout {
  readonly fullName: string;
  readonly time: Date;
  /** 16 bytes, random as signtool writes them. By default they follow from the rest, so that signing can be repeated. */
  readonly listId?: Buffer | undefined;
}

/** The trust list that names these programs, to be signed. Equal programs are named once. */
export function buildCatalog(programs: readonly ProgramDigests[], about: CatalogAbout): SignedContent {
  const distinct = new Map(
    programs.map(({ sha256, sha1 }): [string, ListedFile] => [
      sha256.toString('hex'),
      { kind: 'pe', sha256, sha1, attributes: [] },
    ]),
  );
  const attributes = [
    { name: 'PackageFullName', value: about.fullName },
    { name: 'OSAttr', value: '2:6.2' },
  ];
  const { time, listId } = about;
  const der = buildList([...distinct.values()], { attributes, time, listId, sha256First: true });
  return { type: OID.ctl, der };
}

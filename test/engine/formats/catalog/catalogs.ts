/** Catalogs for tests. */
import { createHash } from 'node:crypto';
import { buildUnsignedCatalog } from '../../../../src/engine/formats/catalog/catalog-file.ts';
import { buildList, type ListedFile } from '../../../../src/engine/formats/catalog/build-list.ts';

export const TIME = new Date('2026-01-31T09:30:00Z');

export const listed = (text: string, more: Partial<ListedFile> = {}): ListedFile => ({
  kind: 'flat',
  sha256: createHash('sha256').update(text).digest(),
  attributes: [{ name: 'FilePath', value: `${text}.txt` }],
  ...more,
});

/** An unsigned catalog of texts. */
export const catalogOf = (...texts: string[]): Buffer =>
  buildUnsignedCatalog(
    buildList(
      texts.map((text) => listed(text)),
      { time: TIME },
    ),
  );

/** An unsigned catalog with all that inf2cat writes: SHA-1 entries, and attributes of files and of the catalog. */
export const catalogOfDriver = (): Buffer => {
  const file = listed('a', {
    kind: 'pe',
    sha1: Buffer.alloc(20, 1),
    attributes: [{ name: 'OSAttr', value: '2:10.0' }],
  });
  return buildUnsignedCatalog(
    buildList([file], { time: TIME, attributes: [{ name: 'HWID1', value: 'root\\a' }] }),
  );
};

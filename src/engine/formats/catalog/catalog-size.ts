import { invalid } from '../../../lib/errors.ts';

/** The largest catalog, in bytes: Windows' own have less than 4 MiB. All of it is held in memory. */
const MAX_CATALOG = 64 * 1024 * 1024;

/** Throws `catalog-too-large`; see `MAX_CATALOG`. */
export function requireCatalogSize(size: number, name: string): void {
  if (size > MAX_CATALOG)
    throw invalid('catalog-too-large', `${name}: a catalog of ${size} bytes, more than ${MAX_CATALOG}`, {
      hint: 'make several catalogs, each for some of the files',
    });
}

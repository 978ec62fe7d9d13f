import { authenticode } from '../../src/engine/authenticode/cms-scheme.ts';
import { readCatalog } from '../../src/engine/formats/msix/check-catalog.ts';
import { MsixFile } from '../../src/engine/formats/msix/msix-file.ts';
import type { SignableFile } from '../../src/engine/formats/signable-file.ts';
import { dosTimeOf, timeOfDos } from '../../src/lib/zip/edit-entries.ts';
import type { SigningRun } from './signing-run.ts';

/** The time in the headers of a package's signature, and id and time of its catalog of programs. */
export function runOfPackage(signed: SignableFile): Partial<SigningRun> {
  if (!(signed instanceof MsixFile) || !signed.pkg.signature) return {};
  const containerTime = timeOfDos(dosTimeOf(signed.pkg.signature));
  const { catalog } = signed.parts;
  if (!catalog) return { containerTime };
  const { listId: id, time } = readCatalog(authenticode.read(catalog, 'catalog').content, 'catalog');
  return { containerTime, catalog: { id, time } };
}

import { itKeepsTheContract } from '../contract.ts';
import { buildMsi, makeMsi, makeMsp, makeMst, packageRoot } from './make-msi.ts';

// Every byte is flipped in unauthenticated.test.ts.
itKeepsTheContract({
  format: 'msi',
  fileName: 'setup.msi',
  unsigned: () => buildMsi({ unusedEntries: 7 }),
  another: () => makeMsi({ root: packageRoot({ children: packageRoot().children.slice(1) }) }),
  differs: 'strip-body-differs',
  flips: false,
});
itKeepsTheContract({
  format: 'msi',
  fileName: 'patch.msp',
  unsigned: () => makeMsp({ version: 4, freeSectors: 2, freeMiniSectors: 3, unusedEntries: 1 }),
  another: () => makeMsp({ root: packageRoot() }),
  differs: 'strip-body-differs',
  removesExactly: false,
  flips: false,
});
itKeepsTheContract({
  format: 'msi',
  fileName: 'change.mst',
  unsigned: () => makeMst({ list: true, unusedEntries: 2 }),
  another: () => makeMst({ root: packageRoot() }),
  differs: 'strip-body-differs',
  removesExactly: true,
  flips: false,
});

import { loadedOnce } from '../../../lib/concurrency/loaded-once.ts';
import { looksLikeCabinet } from '../../../lib/cabinet/header.ts';
import { requireCabSize } from './cab-rules.ts';
import type { FileFormat } from '../signable-file.ts';

const loadCabFile = loadedOnce(() => import('./cab-file.ts'));

export const cab: FileFormat = {
  name: 'cab',
  description: 'cabinets: .cab, which begin with MSCF',
  extensions: ['cab'],
  looksLike: looksLikeCabinet,
  requireSize: requireCabSize,
  open: async (source) => (await loadCabFile()).openCab(source),
};

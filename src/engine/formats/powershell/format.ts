import { loadedOnce } from '../../../lib/concurrency/loaded-once.ts';
import type { FileFormat } from '../signable-file.ts';
import { scriptFormat } from '../script/script-format.ts';
import { STYLES } from './styles.ts';

const loadPowershellFile = loadedOnce(() => import('./powershell-file.ts'));

export const powershell: FileFormat = scriptFormat({
  name: 'powershell',
  description:
    'PowerShell scripts and modules, known by their names: .ps1, .psm1, .psd1, .ps1xml, .psc1, .cdxml, .mof',
  styles: STYLES,
  open: async (source) => (await loadPowershellFile()).openPowerShell(source),
});

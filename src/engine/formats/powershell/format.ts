import type { FileFormat } from '../signable-file.ts';
import { scriptFormat } from '../script/script-format.ts';
import { STYLES } from './styles.ts';

export const powershell: FileFormat = scriptFormat({
  name: 'powershell',
  description:
    'PowerShell scripts and modules, known by their names: .ps1, .psm1, .psd1, .ps1xml, .psc1, .cdxml, .mof',
  styles: STYLES,
  open: async (source) => (await import('./powershell-file.ts')).openPowerShell(source),
});

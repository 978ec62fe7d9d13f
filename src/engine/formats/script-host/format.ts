import type { FileFormat } from '../signable-file.ts';
import { scriptFormat } from '../script/script-format.ts';
import { STYLES } from './styles.ts';

export const scriptHost: FileFormat = scriptFormat({
  name: 'script-host',
  description: 'scripts of Windows Script Host, known by their names: .js, .jse, .vbs, .vbe, .wsf',
  styles: STYLES,
  open: async (source) => (await import('./script-host-file.ts')).openScriptHost(source),
});

import { loadedOnce } from '../../../lib/concurrency/loaded-once.ts';
import type { FileFormat } from '../signable-file.ts';
import { scriptFormat } from '../script/script-format.ts';
import { STYLES } from './styles.ts';

const loadScriptHostFile = loadedOnce(() => import('./script-host-file.ts'));

export const scriptHost: FileFormat = scriptFormat({
  name: 'script-host',
  description: 'scripts of Windows Script Host, known by their names: .js, .jse, .vbs, .vbe, .wsf',
  styles: STYLES,
  open: async (source) => (await loadScriptHostFile()).openScriptHost(source),
});

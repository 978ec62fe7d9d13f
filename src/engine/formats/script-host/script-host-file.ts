import type { ByteSource } from '../../../lib/bytes/byte-source.ts';
import { invalid } from '../../../lib/errors.ts';
import { extensionOf } from '../file-extension.ts';
import { openScript, type ScriptFile, type ScriptKind } from '../script/script-file.ts';
import { jobEndIn } from './job-end.ts';
import { STYLES } from './styles.ts';

/** The subject interface packages of Windows Script Host (wshext.dll), by extension. */
const UUIDS: ReadonlyMap<string, string> = new Map([
  ['js', '10e0c906ce38d411a2a300104bd35090'],
  ['jse', '10e0c906ce38d411a2a300104bd35090'],
  ['vbs', '4ef029169927b54d8fe5ace10f17ebab'],
  ['vbe', '4ef029169927b54d8fe5ace10f17ebab'],
  ['wsf', '7005611ace38d411a2a300104bd35090'],
]);

const endOf = (text: string): number => text.length;

const KINDS: ReadonlyMap<string, ScriptKind> = new Map(
  [...STYLES].map(([extension, style]) => [
    extension,
    {
      format: 'script-host',
      style,
      sip: { version: 1, uuid: Buffer.from(UUIDS.get(extension) ?? '', 'hex') },
      hashesBom: false,
      hashesPosition: true,
      blockPosition: extension === 'wsf' ? jobEndIn : endOf,
    },
  ]),
);

/** Opens a script of Windows Script Host by its extension; throws `script-…`. */
export function openScriptHost(source: ByteSource): Promise<ScriptFile> {
  const kind = KINDS.get(extensionOf(source.name) ?? '');
  if (!kind) throw invalid('not-signable', `${source.name}: not the name of a script of Windows Script Host`);
  return openScript(source, kind);
}

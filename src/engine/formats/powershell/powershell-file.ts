import type { ByteSource } from '../../../lib/bytes/byte-source.ts';
import { invalid, type SignpipeError } from '../../../lib/errors.ts';
import type { SipInfo } from '../../authenticode/sip-info.ts';
import { extensionOf } from '../file-extension.ts';
import { openScript, type ScriptFile, type ScriptKind } from '../script/script-file.ts';
import type { ScriptText } from '../script/script-text.ts';
import { STYLES } from './styles.ts';

/** PowerShell's subject interface package (pwrshsip.dll). */
const SIP: SipInfo = { version: 65536, uuid: Buffer.from('1fcc3b60594b084eb724d2c6297ef351', 'hex') };

const endOf = (text: string): number => text.length;

/** signtool refuses UTF-16 big-endian here, though it signs it for Windows Script Host. */
function refusal({ encoding }: ScriptText, name: string): SignpipeError | null {
  if (encoding !== 'utf16be') return null;
  return invalid(
    'script-utf16be',
    `${name}: UTF-16 big-endian, which Windows does not sign in PowerShell files`,
    {
      hint: 'save it as UTF-8 with a byte order mark (BOM), or as UTF-16 little-endian with one',
    },
  );
}

const KINDS: ReadonlyMap<string, ScriptKind> = new Map(
  [...STYLES].map(([extension, style]) => [
    extension,
    {
      format: 'powershell',
      style,
      sip: SIP,
      hashesBom: true,
      hashesPosition: false,
      blockPosition: endOf,
      refusal,
    },
  ]),
);

/** Opens a file of the PowerShell family by its extension; throws `script-…`. */
export function openPowerShell(source: ByteSource): Promise<ScriptFile> {
  const kind = KINDS.get(extensionOf(source.name) ?? '');
  if (!kind) throw invalid('not-signable', `${source.name}: not the name of a PowerShell file`);
  return openScript(source, kind);
}

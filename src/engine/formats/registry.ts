import { cab } from './cab/format.ts';
import { msi } from './msi/format.ts';
import { msix } from './msix/format.ts';
import { catalog } from './catalog/format.ts';
import { nuget } from './nuget/format.ts';
import { pe } from './pe/pe-file.ts';
import { powershell } from './powershell/format.ts';
import { scriptHost } from './script-host/format.ts';
import { vsix } from './vsix/format.ts';
import type { FileFormat } from './signable-file.ts';

/** The formats that can be signed; of several that recognise a file, the first opens it. Those known by name come last. */
export const FORMATS: readonly FileFormat[] = [
  pe,
  cab,
  catalog,
  msi,
  msix,
  nuget,
  vsix,
  powershell,
  scriptHost,
];

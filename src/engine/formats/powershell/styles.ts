import { commentStyle, type BlockStyle } from '../script/block-style.ts';

const options = {
  sign: 'SIG # ',
  everyLine: false,
  widths: [64],
  mention: /SIG # (?:Begin|End) signature block/gi,
} as const;
const HASH = commentStyle('# ', '', options);
const XML = commentStyle('<!-- ', ' -->', options);
const C = commentStyle('/* ', ' */', options);

/** The signature blocks of the files that PowerShell's subject interface package knows, by extension. */
export const STYLES: ReadonlyMap<string, BlockStyle> = new Map([
  ['ps1', HASH],
  ['psm1', HASH],
  ['psd1', HASH],
  ['ps1xml', XML],
  ['psc1', XML],
  ['cdxml', XML],
  ['mof', C],
]);

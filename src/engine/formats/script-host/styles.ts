import { commentStyle, type BlockStyle } from '../script/block-style.ts';

/** Windows writes 44 characters a line, jsign and osslsigncode 64. */
const WIDTHS = [44, 64] as const;

const JSCRIPT = commentStyle('// ', '', {
  sign: 'SIG // ',
  everyLine: true,
  widths: WIDTHS,
  mention: /SIG \/\/ (?:Begin|End) signature block/gi,
});
const VBSCRIPT = commentStyle("'' ", '', {
  sign: "SIG '' ",
  everyLine: true,
  widths: WIDTHS,
  mention: /SIG '' (?:Begin|End) signature block/gi,
});

/** An element of its own, at the end of the job. */
const WSF: BlockStyle = {
  begin: '<signature>',
  end: '</signature>',
  prefix: '** SIG ** ',
  suffix: '',
  widths: WIDTHS,
  followedBy: '</job>',
  mention: /<\/?\s*signature\b|\*\* SIG \*\*/gi,
  mark: '** SIG ** ',
};

/** The signature blocks of the files that Windows Script Host runs, by extension. */
export const STYLES: ReadonlyMap<string, BlockStyle> = new Map([
  ['js', JSCRIPT],
  ['jse', JSCRIPT],
  ['vbs', VBSCRIPT],
  ['vbe', VBSCRIPT],
  ['wsf', WSF],
]);

/** How the signature block of a kind of script is written: in comments, or in an element of its own. */
export interface BlockStyle {
  /** The first and the last line of the block. */
  readonly begin: string;
  readonly end: string;
  /** What stands before and after the base64 in each line between them. */
  readonly prefix: string;
  readonly suffix: string;
  /** Characters of base64 in a line, the one that is written first: others are read too. */
  readonly widths: readonly number[];
  /** What follows the block and is not replaced: nothing, or `</job>`. */
  readonly followedBy: '' | '</job>';
  /** What in a text can be taken for a part of a block, by a reader less strict than this one. */
  readonly mention: RegExp;
  /** A part of every first line, in which no character needs more than ASCII. */
  readonly mark: string;
}

/** A block in comments, with a mark in each line: `# SIG # Begin signature block`. */
export function commentStyle(
  open: string,
  close: string,
  {
    sign,
    everyLine,
    widths,
    mention,
  }: Pick<BlockStyle, 'widths' | 'mention'> & { readonly sign: string; readonly everyLine: boolean },
): BlockStyle {
  const begin = `${sign}Begin signature block`;
  return {
    begin: `${open}${begin}${close}`,
    end: `${open}${sign}End signature block${close}`,
    prefix: everyLine ? open + sign : open,
    suffix: close,
    widths,
    followedBy: '',
    mention,
    mark: begin,
  };
}

import type { ByteSource } from '../../../lib/bytes/byte-source.ts';
import { extensionOf } from '../file-extension.ts';
import type { FileFormat, SignableFile } from '../signable-file.ts';
import type { BlockStyle } from './block-style.ts';
import { requireScriptSize } from './script-size.ts';

interface ScriptFormat {
  readonly name: string;
  readonly description: string;
  /** The block of each extension. */
  readonly styles: ReadonlyMap<string, BlockStyle>;
  readonly open: (source: ByteSource) => Promise<SignableFile>;
}

/** A text in each encoding that a script can have. */
const inEachEncoding = (text: string): Buffer[] => [
  Buffer.from(text, 'latin1'),
  Buffer.from(text, 'utf16le'),
  Buffer.from(text, 'utf16le').swap16(),
];

/** The style of a script with this name; undefined if it is not that of a script. */
const styleOf = (styles: ReadonlyMap<string, BlockStyle>, fileName: string): BlockStyle | undefined =>
  styles.get(extensionOf(fileName) ?? '');

/** Recognition of scripts, which have no marks: only their name says which program runs them. */
export const scriptFormat = ({ name, description, styles, open }: ScriptFormat): FileFormat => ({
  name,
  description,
  extensions: [...styles.keys()],
  byName: true,
  looksLike: (_head, fileName) => styleOf(styles, fileName) !== undefined,
  signatureMarks: (fileName) => inEachEncoding(styleOf(styles, fileName)?.mark ?? ''),
  requireSize: requireScriptSize,
  open,
});

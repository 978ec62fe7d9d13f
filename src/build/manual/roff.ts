/** Just enough of the macros of man(7), which groff and mandoc both read. */

/** Text without markup: neither a backslash, a hyphen nor a dot at the start of a line means anything. */
export const plain = (text: string): string =>
  text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll('"', '\\(dq')
    .replace(/^(?=[.'])/gm, '\\&');

export const bold = (text: string): string => `\\fB${plain(text)}\\fR`;
export const italic = (text: string): string => `\\fI${plain(text)}\\fR`;

export interface PageHead {
  readonly name: string;
  readonly section: number;
  /** The day of the manual: `2026-11-30`. */
  readonly date: string;
  readonly version: string;
}

const SECTION_TITLES: ReadonlyMap<number, string> = new Map([
  [1, 'User Commands'],
  [5, 'File Formats'],
  [7, 'Miscellaneous'],
]);

/** The first line of a page. */
export const pageHead = ({ name, section, date, version }: PageHead): string =>
  `.TH ${name.toUpperCase().replaceAll('-', '\\-')} ${section} ${date} "signpipe ${version}" "${SECTION_TITLES.get(section) ?? ''}"`;

/** Names of files keep their case. */
export const heading = (text: string): string =>
  `.SH ${plain(text.includes('.') ? text : text.toUpperCase())}`;
export const subheading = (text: string): string => `.SS ${plain(text)}`;
export const paragraph = (text: string): string => `.PP\n${text}`;
/** An entry of a list of terms. */
export const entry = (term: string, text: string): string => `.TP\n${term}\n${text}`;
export const bullet = (text: string): string => `.IP \\(bu 2\n${text}`;
/** Lines that are neither filled nor changed. */
export const literal = (lines: readonly string[]): string =>
  ['.PP', '.RS 4', '.nf', ...lines.map((line) => (line === '' ? '.sp' : plain(line))), '.fi', '.RE'].join(
    '\n',
  );

/** The whole page. A paragraph directly after a heading needs no macro, of which `mandoc -Tlint` would complain. */
export const page = (parts: readonly string[]): string =>
  `${parts.join('\n').replace(/^(\.S[HS] .*)\n\.PP$/gm, '$1')}\n`;

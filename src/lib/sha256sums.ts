/** A file and its SHA-256 in lower-case hex. */
export interface NamedDigest {
  readonly name: string;
  readonly sha256: string;
}

const ESCAPES: ReadonlyMap<string, string> = new Map([
  ['\\', '\\\\'],
  ['\n', '\\n'],
  ['\r', '\\r'],
]);

/**
 * A line as `sha256sum` of GNU coreutils 9 prints it, without its end: `HEX  NAME`. If the name has a backslash, a line
 * feed or a carriage return, these are escaped and a backslash precedes the line.
 */
export function sumLine({ name, sha256 }: NamedDigest): string {
  const escaped = name.replace(/[\\\n\r]/g, (character) => ESCAPES.get(character) ?? character);
  return `${escaped === name ? '' : '\\'}${sha256}  ${escaped}`;
}

/** The content of a file for `sha256sum -c`. */
export const sha256Sums = (files: readonly NamedDigest[]): string =>
  files.map((file) => `${sumLine(file)}\n`).join('');

/** One word for a POSIX shell, whatever it holds: in single quotes, with `'` as `'\''`. */
export const shellQuote = (word: string): string =>
  /^[A-Za-z0-9_/.:=@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;

/** Words as one command line for a POSIX shell. */
export const shellCommand = (words: readonly string[]): string => words.map(shellQuote).join(' ');

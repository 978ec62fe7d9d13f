/** Quotes any text as one word of a POSIX shell: in single quotes, with `'` as `'\''`. */
export const shellQuote = (word: string): string =>
  /^[A-Za-z0-9_/.:=@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;

/** Joins words to a command line for a POSIX shell. */
export const shellCommand = (words: readonly string[]): string => words.map(shellQuote).join(' ');

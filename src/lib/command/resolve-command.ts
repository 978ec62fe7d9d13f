/** Makes a program's path absolute if it has a slash; other names are looked up in PATH. */
export const resolveProgram = (program: string, resolvePath: (path: string) => string): string =>
  /[/\\]/.test(program) ? resolvePath(program) : program;

/** Makes the program of a command absolute as `resolveProgram` does; its arguments stay as they are. */
export const resolveCommand = (
  [program, ...args]: readonly [string, ...string[]],
  resolvePath: (path: string) => string,
): [string, ...string[]] => [resolveProgram(program, resolvePath), ...args];

/** What every program needs to find its files and its other programs. */
const USUAL = ['PATH', 'HOME', 'USER', 'LOGNAME', 'TMPDIR'];

/**
 * The environment for a child process: these variables of this process, if they are set. Nothing else is inherited, since
 * passphrases and the credentials of services may be in the environment.
 */
export const inheritedEnvironment = (more: readonly string[] = []): Record<string, string> =>
  Object.fromEntries(
    [...USUAL, ...more].flatMap((name): [string, string][] => {
      const value = process.env[name];
      return value === undefined ? [] : [[name, value]];
    }),
  );

import { findProgram, programWriters } from '../../../lib/command/find-program.ts';
import { usage } from '../../../lib/errors.ts';
import { printable } from '../../../lib/printable.ts';

/** Options of a command line: one could hold a secret, which no message shows. */
const OPTIONS = /\s-.*$/s;

/** The part that a shell would have read in another way, as the end of a message. */
function shellSyntax(program: string): string | undefined {
  const odd = /^~|\$/.exec(program)?.[0];
  if (odd !== undefined) return `; no shell replaces the ${odd}`;
  if (OPTIONS.test(program)) return '; what follows it would be part of its name';
  const [, rest] = /\s(\S.*)$/s.exec(program) ?? [];
  return rest === undefined
    ? undefined
    : `; ${JSON.stringify(printable(rest, 60))} would be part of its name`;
}

/** Refuses or reports a program that other users may replace: it would run as this user, with the key within reach. */
async function checkWriters(program: string, warn: (message: string) => void): Promise<void> {
  const { all, some } = await programWriters(program);
  const [path] = all;
  if (path !== undefined)
    throw usage(
      'key-command-writable',
      `${path}: every user of this machine may change it, and with it what signs`,
      { hint: `run: chmod go-w ${path}` },
    );
  if (some.length > 0)
    warn(`${some.join(', ')}: another user or its group may change the program that signs`);
}

/**
 * The absolute path of a program that signs. Throws usage errors: `key-command-missing` if it is not there or not
 * executable, `key-command-writable` if every user may change it or a folder above it.
 */
export async function findKeyProgram(program: string, warn: (message: string) => void): Promise<string> {
  const found = await findProgram(program);
  if ('problem' in found)
    throw usage(
      'key-command-missing',
      `${program.replace(OPTIONS, ' …')}: ${found.problem}${shellSyntax(program) ?? ''}`,
      {
        hint: 'check the path, and that the file is executable (chmod +x); arguments go into a script, or into signing.command of signer.yaml',
      },
    );
  await checkWriters(found.file, warn);
  return found.file;
}

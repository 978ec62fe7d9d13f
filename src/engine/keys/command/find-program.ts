import { constants } from 'node:fs';
import { access, realpath, stat } from 'node:fs/promises';
import { delimiter, dirname, isAbsolute, join, resolve } from 'node:path';
import { usage } from '../../../lib/errors.ts';

/** Where a program may lie: at its path if it has a slash, else in the folders of PATH, of which relative ones do not count. */
function candidates(program: string, path: string): string[] {
  if (/[/\\]/.test(program)) return [resolve(program)];
  return path
    .split(delimiter)
    .filter((folder) => isAbsolute(folder))
    .map((folder) => join(folder, program));
}

const isExecutable = async (file: string): Promise<boolean> =>
  (await stat(file)).isFile() &&
  access(file, constants.X_OK).then(
    () => true,
    () => false,
  );

/** Bits of a mode by which users other than the owner may write. */
const BY_GROUP = 0o020;
const BY_ALL = 0o002;
const STICKY = 0o1000;

/** Refuses or reports a program that other users may replace: it would run as this user, with the key within reach. */
async function checkWriters(program: string, warn: (message: string) => void): Promise<void> {
  if (process.platform === 'win32') return;
  const file = await realpath(program);
  for (const path of [file, dirname(file)]) {
    const { mode, uid } = await stat(path);
    if ((mode & BY_ALL) !== 0 && (mode & STICKY) === 0)
      throw usage(
        'key-command-writable',
        `${path}: every user of this machine may change it, and with it what signs`,
        {
          hint: `run: chmod go-w ${path}`,
        },
      );
    if ((mode & BY_GROUP) !== 0 || (uid !== 0 && uid !== process.getuid?.()))
      warn(`${path}: another user or its group may change the program that signs`);
  }
}

/**
 * The absolute path of a program. Throws usage errors: `key-command-missing` if it is not there or not executable,
 * `key-command-writable` if every user may change it or its folder.
 */
export async function findProgram(program: string, warn: (message: string) => void): Promise<string> {
  for (const file of candidates(program, process.env['PATH'] ?? '')) {
    if (!(await isExecutable(file).catch(() => false))) continue;
    await checkWriters(file, warn);
    return file;
  }
  const where = /[/\\]/.test(program) ? 'is not a program that this user may run' : 'is in no folder of PATH';
  throw usage('key-command-missing', `${program}: ${where}`, {
    hint: 'check the path, and that the file is executable (chmod +x); arguments go into signing.command',
  });
}

import { stat } from 'node:fs/promises';
import { readAll, withFile } from '../../lib/bytes/byte-source.ts';
import { usage, isInvalid } from '../../lib/errors.ts';

/** In bytes. A PFX with a long chain has about ten kilobytes. */
const MAX_KEY_FILE = 1024 * 1024;

/** Reads a whole key file. Throws `CODE-too-large` (usage). */
export async function readKeyFile(path: string, code: string): Promise<Buffer> {
  return withFile(path, (file) => {
    if (file.size <= MAX_KEY_FILE) return readAll(file, MAX_KEY_FILE);
    throw usage(`${code}-too-large`, `${path}: ${file.size} bytes are too many for a key`, {
      hint: 'check that this is the right file',
    });
  });
}

/** Warns if users other than the owner of a file may read the secret in it. */
export async function warnIfOthersCanRead(
  path: string,
  secret: string,
  warn: (message: string) => void,
): Promise<void> {
  const { mode } = await stat(path);
  if (process.platform !== 'win32' && (mode & 0o077) !== 0)
    warn(`${path}: others on this machine may read ${secret} (mode ${(mode & 0o777).toString(8)})`);
}

/**
 * Runs `read` and reports malformed bytes as a usage error with `code`: the operator has to replace the key file, and
 * no request is rejected for it.
 */
export async function readingKeyFile<T>(code: string, read: () => T | Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (!isInvalid(error)) throw error;
    throw usage(code, error.message, { hint: 'the file is damaged, or is not a key file', cause: error });
  }
}

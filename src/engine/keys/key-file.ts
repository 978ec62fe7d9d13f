import { stat } from 'node:fs/promises';
import { readAll, withFile } from '../../lib/bytes/byte-source.ts';
import { SignpipeError, usage } from '../../lib/errors.ts';

/** A PFX with a long chain has some ten kilobytes. */
const LARGEST_KEY_FILE = 1024 * 1024;

/** The whole of a small file; throws `CODE-too-large`. */
export async function readKeyFile(path: string, code: string): Promise<Buffer> {
  return withFile(path, (file) => {
    if (file.size <= LARGEST_KEY_FILE) return readAll(file, LARGEST_KEY_FILE);
    throw usage(`${code}-too-large`, `${path}: ${file.size} bytes are too many for a key`, {
      hint: 'Check that this is the right file',
    });
  });
}

/** Warns, without refusing, of a secret that others than the owner of its file may read. */
export async function warnIfOpen(
  path: string,
  secret: string,
  warn: (message: string) => void,
): Promise<void> {
  const { mode } = await stat(path);
  if (process.platform !== 'win32' && (mode & 0o077) !== 0)
    warn(`${path}: others on this machine may read ${secret} (mode ${(mode & 0o777).toString(8)})`);
}

/** Broken bytes in a key file are a matter of configuration, and keep nobody's request from being signed later. */
function asMalformed(error: unknown, code: string): unknown {
  if (!(error instanceof SignpipeError) || error.kind !== 'invalid') return error;
  return usage(code, error.message, { hint: 'The file is damaged, or not of this kind', cause: error });
}

/** Runs `read`, and turns broken bytes into a usage error with `code`. */
export async function readingKey<T>(code: string, read: () => T | Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    throw asMalformed(error, code);
  }
}

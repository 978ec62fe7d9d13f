import { access, constants, realpath, stat } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { mayBeProgram } from '../../../engine/formats/program-names.ts';
import { recognize } from '../../../engine/formats/recognize.ts';
import { withFile } from '../../../lib/bytes/byte-source.ts';
import { hasCode, usage } from '../../../lib/errors.ts';
import { fromSystemError } from '../../../lib/system-error.ts';

/** A file that is to be replaced by its signed version. */
export interface Target {
  /** As the user named it, for messages. */
  readonly given: string;
  /** Where it is; of a symbolic link, the file that it leads to. */
  readonly path: string;
  /** Its name for the signer, without folders. */
  readonly name: string;
  readonly kind: 'program' | 'zip';
}

/** A file that exists under a writable folder, with what identifies it on this machine. */
async function locate(given: string): Promise<{ path: string; identity: string }> {
  try {
    const path = await realpath(given);
    const stats = await stat(path, { bigint: true });
    if (!stats.isFile()) throw usage('not-a-file', `${given}: is not a regular file`);
    // Before anything is uploaded: the signed file must get its place afterwards.
    await access(dirname(path), constants.W_OK | constants.X_OK);
    return { path, identity: `${stats.dev}:${stats.ino}` };
  } catch (error) {
    if (hasCode(error, 'ENOENT')) throw usage('file-not-found', `${given}: no such file`, { cause: error });
    throw fromSystemError(error, given) ?? error;
  }
}

/**
 * The name under which the signer sees a file, whose policy decides by names: installers are made under temporary names
 * such as `nst4F2.tmp`, so a PE file without the extension of a program gets `.exe`.
 */
async function nameFor(path: string): Promise<string> {
  const name = basename(path);
  if (mayBeProgram(name)) return name;
  const head = await withFile(path, (file) => file.read(0, Math.min(file.size, 2)));
  return head.toString('latin1') === 'MZ' ? `${name}.exe` : name;
}

/**
 * The files that a command line names, each once, whatever links lead to it. Throws `file-not-found`, `not-a-file`,
 * `permission-denied`, and `in-place-not-a-program` for what cannot be signed (usage).
 */
export async function findTargets(paths: readonly string[]): Promise<Target[]> {
  const targets = new Map<string, Target>();
  for (const given of paths) {
    const { path, identity } = await locate(given);
    if (targets.has(identity)) continue;
    const kind = await withFile(path, recognize);
    if (kind === null)
      throw usage('in-place-not-a-program', `${given}: is not a file that can be signed`, {
        hint: 'name programs, packages, scripts and zips only; nothing was uploaded',
      });
    targets.set(identity, { given, path, name: await nameFor(path), kind });
  }
  return [...targets.values()];
}

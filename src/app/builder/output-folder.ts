import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { usage } from '../../lib/errors.ts';

/** What identifies a file on this machine; null if there is no such file. */
async function identityOf(path: string): Promise<string | null> {
  const stats = await stat(path, { bigint: true }).catch(() => null);
  return stats && `${stats.dev}:${stats.ino}`;
}

/** The folder may be missing: it is created for the first file. */
async function requireFolderOrNothing(output: string): Promise<void> {
  const stats = await stat(output).catch(() => null);
  if (stats === null || stats.isDirectory()) return;
  throw usage('output-not-a-folder', `${output}: exists already and is not a folder`, {
    hint: 'give a folder with --output DIR; signed files keep their names',
  });
}

/**
 * Checks the folder that signed files with these names will be downloaded to. Throws (usage):
 *
 * - `output-not-a-folder`: something else has that name;
 * - `output-is-input`: a signed file would replace a submitted file, or one that it is to be proved against.
 */
export async function requireOutputFolder(
  output: string,
  names: readonly string[],
  inputs: readonly string[],
): Promise<void> {
  await requireFolderOrNothing(output);
  const inputsByIdentity = new Map<string | null, string>();
  for (const input of inputs) inputsByIdentity.set(await identityOf(input), input);
  for (const name of names) {
    const path = join(output, name);
    const identity = await identityOf(path);
    const input = identity === null ? undefined : inputsByIdentity.get(identity);
    if (input === undefined) continue;
    throw usage('output-is-input', `${path}: the signed file would replace ${input}`, {
      hint: 'give another folder with --output DIR',
    });
  }
}

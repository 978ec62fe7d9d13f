import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { usage } from '../errors.ts';

/** What tells one file from all others on this machine; null if there is none of that name. */
async function identityOf(path: string): Promise<string | null> {
  const stats = await stat(path, { bigint: true }).catch(() => null);
  return stats && `${stats.dev}:${stats.ino}`;
}

/**
 * Refuses, with `output-is-input` (usage), to download signed files of these names into a folder where one
 * would replace a file that was submitted, or that the signed one is to be proved against.
 */
export async function requireApart(
  output: string,
  names: readonly string[],
  inputs: readonly string[],
): Promise<void> {
  const given = new Map<string | null, string>();
  for (const input of inputs) given.set(await identityOf(input), input);
  for (const name of names) {
    const path = join(output, name);
    const identity = await identityOf(path);
    const input = identity === null ? undefined : given.get(identity);
    if (input === undefined) continue;
    throw usage('output-is-input', `${path}: the signed file would replace ${input}`, {
      hint: 'give another folder with --output DIR',
    });
  }
}

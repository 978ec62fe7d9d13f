import type { Stats } from 'node:fs';
import { access, constants, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { hasCode, messageOf } from '../../../lib/errors.ts';
import { ok, warning, type CheckResult } from './check-result.ts';

/** What is at a path; null for nothing. */
const statsOf = (path: string): Promise<Stats | null> =>
  stat(path).catch((error: unknown) => {
    if (hasCode(error, 'ENOENT')) return null;
    throw error;
  });

/** Why the signer could not write a file; undefined if it can. The file is replaced whole, so its folder matters. */
async function whyNotWritten(file: string): Promise<string | undefined> {
  const folder = dirname(file);
  try {
    const stats = await statsOf(folder);
    if (!stats) return `there is no folder ${folder}`;
    if (!stats.isDirectory()) return `${folder} is not a folder`;
    await access(folder, constants.W_OK | constants.X_OK);
    return (await statsOf(file))?.isDirectory() ? 'it is a folder' : undefined;
  } catch (error) {
    return messageOf(error);
  }
}

/** Checks that `metrics.file` can be written. Writes nothing: Prometheus would read it. */
export async function checkMetrics(file: string): Promise<CheckResult[]> {
  const why = await whyNotWritten(file);
  if (why === undefined) return [ok(`${file} can be written`)];
  return [
    warning(
      'metrics-not-writable',
      `${file} cannot be written: ${why}`,
      'create the folder and let the account of the signer write it (with the systemd unit, name it in ReadWritePaths=), or correct metrics.file',
    ),
  ];
}

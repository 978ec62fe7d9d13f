import { readFile } from 'node:fs/promises';
import type { z } from 'zod';
import { hasCode } from '../../../lib/errors.ts';
import { jsonOrNull } from '../../../lib/json.ts';

/** Reads a JSON file of the state folder; undefined if it is missing or damaged. */
export async function readStateFile<T>(file: string, schema: z.ZodType<T>): Promise<T | undefined> {
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    if (hasCode(error, 'ENOENT')) return '';
    throw error;
  });
  return schema.safeParse(jsonOrNull(text)).data;
}

import { readFileSync } from 'node:fs';
import { packageRoot } from './package-root.ts';

const description: unknown = JSON.parse(readFileSync(new URL('package.json', packageRoot), 'utf8'));

/** The version in package.json, for receipts and `--version`. */
export const VERSION =
  typeof description === 'object' && description !== null && 'version' in description
    ? String(description.version)
    : 'unknown';

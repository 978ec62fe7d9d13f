import { invalid } from '../../../lib/errors.ts';

/** The largest script, in bytes: all of it is decoded in memory. */
const MAX_SCRIPT = 64 * 1024 * 1024;

/** Throws `script-too-large`; see `MAX_SCRIPT`. */
export function requireScriptSize(size: number, name: string): void {
  if (size > MAX_SCRIPT)
    throw invalid('script-too-large', `${name}: a script of ${size} bytes, more than ${MAX_SCRIPT}`, {
      hint: 'put data into a file of its own, or exclude the script',
    });
}

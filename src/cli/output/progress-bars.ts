import { isatty } from 'node:tty';
import { noProgress, type ProgressDisplay } from '../../lib/progress.ts';
import type { CommonOptions } from './terminal.ts';

/** Progress bars on a terminal; none, and their package is not loaded, if the output goes to a file or a CI log. */
export async function progressFor(options: CommonOptions): Promise<ProgressDisplay> {
  if (options.quiet || !isatty(2)) return noProgress;
  const { startBar } = await import('./terminal-progress-bar.ts');
  return { start: startBar };
}

import { pino, type Logger } from 'pino';
import { printableJson } from '../../lib/printable.ts';
import { wantsColour } from '../../lib/terminal-colors.ts';
import { plainLog } from './log-format.ts';
import type { CommonOptions } from './terminal.ts';

/** The log of a command that runs on: JSON lines, for log collectors, or lines of text on a terminal. */
export function loggerFor(options: CommonOptions & { readonly json?: boolean }): Logger {
  const level = options.quiet ? 'warn' : options.verbose ? 'debug' : 'info';
  const settings = { level, base: {}, timestamp: pino.stdTimeFunctions.isoTime };
  if (process.stdout.isTTY && !options.json)
    return pino(settings, plainLog(process.stdout, wantsColour(process.stdout)));
  const out = pino.destination({ dest: 1, sync: true });
  // JSON does not escape all control characters, and logs are read on terminals.
  return pino(settings, { write: (record) => void out.write(printableJson(record)) });
}

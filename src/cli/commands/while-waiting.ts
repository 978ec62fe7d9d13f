import { shellQuote } from '../../lib/ssh/quote.ts';
import type { CommonOptions } from '../output/terminal.ts';
import { sayUnlessQuiet } from '../output/terminal.ts';

export interface WaitingFor extends CommonOptions {
  readonly config: string;
  readonly request: string;
}

/**
 * Waits by `wait`; if a person stops that with Ctrl-C, says how to go on, since the request stands and will
 * be answered. What ends the process then has been installed before.
 */
export async function whileWaiting<T>(options: WaitingFor, wait: () => Promise<T>): Promise<T> {
  const { config, request } = options;
  const explain = (): void =>
    sayUnlessQuiet(options)(
      `stopped waiting; the request stands. Go on with: signpipe wait -c ${shellQuote(config)} ${request}`,
    );
  process.prependOnceListener('SIGINT', explain);
  try {
    return await wait();
  } finally {
    process.off('SIGINT', explain);
  }
}

import { withSession, type BuilderSession } from '../../app/builder/session.ts';
import { wait, type WaitOptions } from '../../app/builder/wait.ts';
import { loadBuilderConfig } from '../../app/config/builder.ts';
import { shellQuote } from '../../lib/ssh/quote.ts';
import { progressFor } from '../output/progress-bars.ts';
import { describeReceipt } from '../output/receipt-text.ts';
import { print, printJson, sayUnlessQuiet, SIGNED_FILES, type CommonOptions } from '../output/terminal.ts';

/** Options of every command that waits. */
export interface WaitingOptions extends CommonOptions {
  readonly config: string;
  readonly timeout: number;
  readonly output?: string;
  readonly allowTestCertificate?: boolean;
  readonly json?: boolean;
}

interface WaitCommandOptions extends WaitingOptions {
  readonly original?: string[];
}

/**
 * Runs `work`. If the user stops it with Ctrl-C, says how to continue, since the request still will be answered. The
 * handler that then ends the process has been installed before.
 */
async function explainOnInterrupt<T>(
  request: string,
  options: WaitingOptions,
  work: () => Promise<T>,
): Promise<T> {
  const explain = (): void =>
    sayUnlessQuiet(options)(
      `stopped waiting; the request remains. To continue: signpipe wait -c ${shellQuote(options.config)} ${request}`,
    );
  process.prependOnceListener('SIGINT', explain);
  try {
    return await work();
  } finally {
    process.off('SIGINT', explain);
  }
}

/** Waits for the answer to a request, downloads the signed files and prints the receipt. */
export async function waitAndPrint(
  session: BuilderSession,
  request: string,
  options: WaitingOptions,
  { originals, justMade }: Pick<WaitOptions, 'originals' | 'justMade'>,
): Promise<number> {
  const waited = await explainOnInterrupt(request, options, () =>
    wait(session, request, {
      timeout: options.timeout,
      output: options.output ?? SIGNED_FILES,
      originals,
      allowTest: options.allowTestCertificate === true,
      justMade,
    }),
  );
  if (options.json) printJson(justMade ? { request, ...waited } : waited);
  else print(describeReceipt(waited));
  return 0;
}

/** `signpipe wait`: waits for an answer. The exit status is 3 for a rejected request, 1 for a failed one, 4 for a time-out. */
export async function waitCommand(request: string, options: WaitCommandOptions): Promise<number> {
  const reporting = { progress: await progressFor(options), say: sayUnlessQuiet(options) };
  return withSession(await loadBuilderConfig(options.config), reporting, (session) =>
    waitAndPrint(session, request, options, { originals: options.original ?? [] }),
  );
}

import { openSession } from '../../app/builder/session.ts';
import { wait } from '../../app/builder/wait.ts';
import { loadBuilderConfig } from '../../app/config/builder.ts';
import { describeReceipt } from '../output/receipt-text.ts';
import { progressFor } from '../output/progress-bars.ts';
import { whileWaiting } from './while-waiting.ts';
import { print, printJson, sayUnlessQuiet, SIGNED_FILES, type CommonOptions } from '../output/terminal.ts';

export interface WaitCommandOptions extends CommonOptions {
  readonly config: string;
  readonly timeout: number;
  readonly output?: string;
  readonly original?: string[];
  readonly allowTestCertificate?: boolean;
  readonly json?: boolean;
}

/** `signpipe wait`: until answered; the refusal is exit status 3, a failure 1, the time-out 4. */
export async function waitCommand(request: string, options: WaitCommandOptions): Promise<number> {
  const session = await openSession(await loadBuilderConfig(options.config), {
    progress: await progressFor(options),
    say: sayUnlessQuiet(options),
  });
  try {
    const waited = await whileWaiting({ ...options, request }, () =>
      wait(session, request, {
        timeout: options.timeout,
        output: options.output ?? SIGNED_FILES,
        originals: options.original ?? [],
        allowTest: options.allowTestCertificate === true,
      }),
    );
    if (options.json) printJson(waited);
    else print(describeReceipt(waited));
    return 0;
  } finally {
    await session.close();
  }
}

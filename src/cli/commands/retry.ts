import { retry } from '../../app/builder/steering/retry.ts';
import { withSession } from '../../app/builder/session.ts';
import { loadBuilderConfig } from '../../app/config/builder.ts';
import { progressFor } from '../output/progress-bars.ts';
import { print, printJson, sayUnlessQuiet } from '../output/terminal.ts';
import { waitAndPrint, type WaitingOptions } from './wait.ts';

interface RetryCommandOptions extends WaitingOptions {
  readonly wait?: boolean;
  readonly original?: string[];
}

/** `signpipe retry`: requests the same bytes again, and prints the id of the new request. */
export async function retryCommand(request: string, options: RetryCommandOptions): Promise<number> {
  const say = sayUnlessQuiet(options);
  const reporting = { progress: await progressFor(options), say };
  return withSession(await loadBuilderConfig(options.config), reporting, async (session) => {
    const again = await retry(session, request);
    if (options.wait) {
      say(`request ${again}`);
      return await waitAndPrint(session, again, options, {
        originals: options.original ?? [],
        justMade: true,
      });
    }
    if (options.json) printJson({ request: again });
    else print(again);
    return 0;
  });
}

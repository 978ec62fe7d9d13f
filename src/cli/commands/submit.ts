import { submit } from '../../app/builder/submit.ts';
import { withSession } from '../../app/builder/session.ts';
import { loadBuilderConfig } from '../../app/config/builder.ts';
import { compilePatterns } from '../../engine/artifact/globs.ts';
import { progressFor } from '../output/progress-bars.ts';
import { print, printJson, sayUnlessQuiet, SIGNED_FILES } from '../output/terminal.ts';
import type { WaitingOptions } from './wait.ts';

interface SubmitCommandOptions extends WaitingOptions {
  readonly wait?: boolean;
  readonly revision?: string;
  readonly channel?: string;
  readonly as?: string;
  readonly pack?: boolean;
  readonly sparse?: boolean;
  readonly files?: string[];
}

/** `signpipe submit`: uploads files, requests their signatures and prints the request's id. */
export async function submitCommand(files: string[], options: SubmitCommandOptions): Promise<number> {
  const say = sayUnlessQuiet(options);
  const reporting = { progress: await progressFor(options), say };
  return withSession(await loadBuilderConfig(options.config), reporting, async (session) => {
    const request = await submit(session, files, {
      revision: options.revision,
      channel: options.channel,
      as: options.as,
      pack: options.pack,
      output: options.wait ? (options.output ?? SIGNED_FILES) : undefined,
      sparse: options.sparse
        ? { isMeant: options.files && compilePatterns(options.files), limits: session.config.limits }
        : undefined,
    });
    if (options.wait) {
      say(`request ${request}`);
      const { waitAndPrint } = await import('./wait.ts');
      const originals = options.sparse ? files : [];
      return await waitAndPrint(session, request, options, { originals, justMade: true });
    }
    if (options.json) printJson({ request });
    else print(request);
    return 0;
  });
}

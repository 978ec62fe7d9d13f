import { submit } from '../../app/builder/submit.ts';
import { openSession } from '../../app/builder/session.ts';
import { loadBuilderConfig } from '../../app/config/builder.ts';
import { compilePatterns, type PathFilter } from '../../engine/artifact/globs.ts';
import { progressFor } from '../output/progress-bars.ts';
import { whileWaiting } from './while-waiting.ts';
import { print, printJson, sayUnlessQuiet, SIGNED_FILES, type CommonOptions } from '../output/terminal.ts';

export interface SubmitCommandOptions extends CommonOptions {
  readonly config: string;
  readonly wait?: boolean;
  readonly timeout: number;
  readonly output?: string;
  readonly revision?: string;
  readonly channel?: string;
  readonly as?: string;
  readonly sparse?: boolean;
  readonly files?: string[];
  readonly allowTestCertificate?: boolean;
  readonly json?: boolean;
}

const meant = ({ files }: SubmitCommandOptions): PathFilter | undefined => files && compilePatterns(files);

/** `signpipe submit`: uploads, commits, pushes; prints the request's id. */
export async function submitCommand(files: string[], options: SubmitCommandOptions): Promise<number> {
  const say = sayUnlessQuiet(options);
  const session = await openSession(await loadBuilderConfig(options.config), {
    progress: await progressFor(options),
    say,
  });
  const output = options.output ?? SIGNED_FILES;
  try {
    const request = await submit(session, files, {
      revision: options.revision,
      channel: options.channel,
      as: options.as,
      output: options.wait ? output : undefined,
      sparse: options.sparse ? { isMeant: meant(options), limits: session.config.limits } : undefined,
    });
    if (!options.wait) {
      if (options.json) printJson({ request });
      else print(request);
      return 0;
    }
    say(`request ${request}`);
    const [{ wait }, { describeReceipt }] = await Promise.all([
      import('../../app/builder/wait.ts'),
      import('../output/receipt-text.ts'),
    ]);
    const waited = await whileWaiting({ ...options, request }, () =>
      wait(session, request, {
        timeout: options.timeout,
        output,
        originals: options.sparse ? files : [],
        allowTest: options.allowTestCertificate === true,
        justMade: true,
      }),
    );
    if (options.json) printJson({ request, ...waited });
    else print(describeReceipt(waited));
    return 0;
  } finally {
    await session.close();
  }
}

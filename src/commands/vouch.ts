import { openSession } from '../builder/session.ts';
import { vouch } from '../builder/vouch.ts';
import { loadBuilderConfig } from '../config/builder.ts';
import { progressFor } from './bars.ts';
import { print, sayUnlessQuiet, type CommonOptions } from './terminal.ts';

export interface VouchCommandOptions extends CommonOptions {
  readonly config: string;
  readonly as?: string;
  readonly json?: boolean;
}

/** `signpipe vouch`: says that this builder got the same bytes; prints the vouch's commit id. */
export async function vouchCommand(files: string[], options: VouchCommandOptions): Promise<number> {
  const session = await openSession(await loadBuilderConfig(options.config), {
    progress: await progressFor(options),
    say: sayUnlessQuiet(options),
  });
  try {
    const id = await vouch(session, files, options.as);
    print(options.json ? JSON.stringify({ vouch: id }) : id);
    return 0;
  } finally {
    await session.close();
  }
}

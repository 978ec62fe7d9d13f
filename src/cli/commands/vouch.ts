import { withControlSession } from '../../app/builder/session.ts';
import { vouch } from '../../app/builder/vouch.ts';
import { loadVoucherConfig } from '../../app/config/builder.ts';
import { print, printJson, sayUnlessQuiet, type CommonOptions } from '../output/terminal.ts';

interface VouchCommandOptions extends CommonOptions {
  readonly config: string;
  readonly as?: string;
  readonly pack?: boolean;
  readonly json?: boolean;
}

/** `signpipe vouch`: states that this builder got the same bytes; prints the commit id of the vouch. */
export async function vouchCommand(files: string[], options: VouchCommandOptions): Promise<number> {
  const config = await loadVoucherConfig(options.config);
  const id = await withControlSession(config, sayUnlessQuiet(options), (session) =>
    vouch(session, files, options),
  );
  if (options.json) printJson({ vouch: id });
  else print(id);
  return 0;
}

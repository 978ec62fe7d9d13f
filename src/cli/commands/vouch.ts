import { openVoucherSession } from '../../app/builder/session.ts';
import { vouch } from '../../app/builder/vouch.ts';
import { loadVoucherConfig } from '../../app/config/builder.ts';
import { print, printJson, sayUnlessQuiet, type CommonOptions } from '../output/terminal.ts';

export interface VouchCommandOptions extends CommonOptions {
  readonly config: string;
  readonly as?: string;
  readonly json?: boolean;
}

/** `signpipe vouch`: states that this builder got the same bytes; prints the commit id of the vouch. */
export async function vouchCommand(files: string[], options: VouchCommandOptions): Promise<number> {
  const session = await openVoucherSession(await loadVoucherConfig(options.config), sayUnlessQuiet(options));
  try {
    const id = await vouch(session, files, options.as);
    if (options.json) printJson({ vouch: id });
    else print(id);
    return 0;
  } finally {
    session.close();
  }
}

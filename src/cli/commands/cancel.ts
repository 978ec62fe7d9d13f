import { cancel, type Cancelled } from '../../app/builder/steering/cancel.ts';
import { withControlSession } from '../../app/builder/session.ts';
import { loadControlConfig } from '../../app/config/builder.ts';
import { shortId } from '../../lib/git/objects.ts';
import { print, printJson, sayUnlessQuiet, type CommonOptions } from '../output/terminal.ts';

interface CancelCommandOptions extends CommonOptions {
  readonly config: string;
  readonly reason?: string;
  readonly wait?: boolean;
  readonly timeout: number;
  readonly json?: boolean;
}

const STATES: Record<Cancelled['state'], string> = {
  requested:
    'the signer will reject it when it sees that, unless it is using its key for it now: --wait shows which',
  cancelled: 'cancelled: the signer rejected it, and signed nothing',
  rejected: 'there is nothing to cancel: it was rejected before',
  failed: 'there is nothing to cancel: it failed before',
};

/** `signpipe cancel`: withdraws a request. The exit status is 3 if it was signed, 4 if the signer did not answer in time. */
export async function cancelCommand(request: string, options: CancelCommandOptions): Promise<number> {
  const config = await loadControlConfig(options.config);
  const result = await withControlSession(config, sayUnlessQuiet(options), (session) =>
    cancel(session, request, {
      reason: options.reason,
      timeout: options.wait === true ? options.timeout : 0,
    }),
  );
  if (options.json) printJson(result);
  else print(`request ${shortId(result.request)}: ${STATES[result.state]}`);
  return 0;
}

import { hold, unhold } from '../../app/builder/steering/hold.ts';
import { withControlSession } from '../../app/builder/session.ts';
import { loadControlConfig } from '../../app/config/builder.ts';
import { loadSignerConfig } from '../../app/config/signer.ts';
import { roleOf } from '../../app/config/role.ts';
import { readYaml } from '../../app/config/yaml.ts';
import { removeOperatorHold, setOperatorHold } from '../../app/signer/state/operator-hold.ts';
import { shortId } from '../../lib/git/objects.ts';
import { print, printJson, sayUnlessQuiet, type CommonOptions } from '../output/terminal.ts';

interface HoldCommandOptions extends CommonOptions {
  readonly config: string;
  readonly json?: boolean;
}

interface UnholdCommandOptions extends HoldCommandOptions {
  readonly again?: boolean;
}

/** The state folder if the configuration is a signer's; its operator has no key for commits. */
async function signerState(config: string): Promise<string | null> {
  const file = await readYaml(config);
  return roleOf(file.document) === 'signer' ? (await loadSignerConfig(file)).state : null;
}

const NO_REASON = 'no reason was given';

/** `signpipe hold`: stops all signing, by a signed commit or, with signer.yaml, on that signer alone. */
export async function holdCommand(words: string[], options: HoldCommandOptions): Promise<number> {
  const reason = words.join(' ').trim() || NO_REASON;
  const state = await signerState(options.config);
  const say = sayUnlessQuiet(options);
  if (state !== null) {
    const before = await setOperatorHold(state, reason);
    say(
      before
        ? `this signer has been on hold since ${before.since.toISOString()}: ${before.reason}`
        : `this signer is on hold; other signers of the repository are not. Continue with: signpipe unhold -c ${options.config}`,
    );
    if (options.json) printJson({ held: true, already: before !== null, commit: null });
    return 0;
  }
  const { commit, already } = await withControlSession(
    await loadControlConfig(options.config),
    say,
    (session) => hold(session, reason),
  );
  say(already ? `already on hold since commit ${shortId(commit)}` : 'signing is on hold');
  if (options.json) printJson({ held: true, already, commit });
  else print(commit);
  return 0;
}

/** `signpipe unhold`: lifts a HOLD. */
export async function unholdCommand(options: UnholdCommandOptions): Promise<number> {
  const state = await signerState(options.config);
  const say = sayUnlessQuiet(options);
  if (state !== null) {
    const removed = await removeOperatorHold(state);
    say(removed ? 'this signer continues' : 'this signer was not on hold by its operator');
    if (options.json) printJson({ held: false, commit: null });
    return 0;
  }
  const { commit, putBack } = await withControlSession(
    await loadControlConfig(options.config),
    say,
    (session) => unhold(session, options),
  );
  if (commit === null)
    say(
      'signing is not on hold, as far as can be seen here. If the signer does not count the commit that lifted it, give --again',
    );
  else {
    if (putBack) say('HOLD was put back and removed again: its removal before did not count');
    say(
      'lifted, if the signer allows this key on its channel "default"; signpipe wait shows what a request waits for',
    );
  }
  if (options.json) printJson({ held: false, commit });
  else if (commit !== null) print(commit);
  return 0;
}

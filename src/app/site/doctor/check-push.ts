import { Git, GitFailure } from '../../../lib/git/git.ts';
import { SignpipeError } from '../../../lib/errors.ts';
import { printable } from '../../../lib/printable.ts';
import { remoteError } from '../../../protocol/control/git-host-errors.ts';
import { HEALTH_REFS } from '../../../protocol/control/heartbeat.ts';
import type { ControlRepository } from '../../../protocol/control/repository.ts';
import { bad, ok, warning, type CheckResult } from './check-result.ts';
import { HEARTBEAT_PROBE, PROBE, pushProbe, writeProbe } from './push-probe.ts';

/** What a site's key should be able to write in the control repository, and what not. */
export interface PushRights {
  /** The branch that the site writes; null if it only reads. */
  readonly writes: string | null;
  /** Branches that only others write. */
  readonly others: readonly string[];
  /** Whether the site pushes heartbeats. */
  readonly heartbeats?: boolean;
}

/** Whether Git found, before it sent anything, that the probe does not continue the branch. */
const isLocalRejection = (error: unknown): boolean =>
  error instanceof GitFailure && /^!\t[^\t]*\t\[rejected\]/m.test(error.stdout);

/** Begins a push to a branch and stops before anything is sent: whether the host lets this key run git-receive-pack. */
async function beginPush(git: Git, url: string, refspec: string): Promise<void> {
  try {
    await git.run(['push', '--dry-run', '--porcelain', '--no-verify', url, refspec]);
  } catch (error) {
    if (!isLocalRejection(error)) throw remoteError(error, url);
  }
}

/** The answer of the hook: whose key this is, its roles, the branches that it may write, and whether it may push heartbeats. */
interface Answer {
  readonly user: string;
  readonly roles: string;
  readonly writes: readonly string[];
  readonly heartbeats: boolean;
}

function answerIn(said: string): Answer | null {
  const found =
    /signpipe: probe 1: user=([^;\n]{0,100}); roles=([^;\n]{0,200}); writes=([^;\n]{0,1000})/.exec(said);
  if (!found) return null;
  const [user = '', roles = '', writes = ''] = found.slice(1).map((text) => printable(text.trim(), 300));
  return { user, roles, writes: writes.split(' '), heartbeats: /; heartbeats=yes/.test(said) };
}

const tooMuch = (who: string, branches: readonly string[]): CheckResult =>
  warning(
    'push-too-much',
    `the hook of the host lets ${who} write ${branches.join(', ')} too, which only another role should write`,
    'the operator of the Git host gives each key one role in authorized_keys: then a stolen key can do less',
  );

const noRight = (message: string, branch: string): CheckResult =>
  bad(
    'push-not-allowed',
    message,
    `the operator of the Git host gives the key its role: the role that writes ${branch}, in the command of its line in authorized_keys (pipeline/host/authorized_keys)`,
  );

const readsOnly = ok('the host lets this key only read');

function judgeAnswer({ user, roles, writes }: Answer, { writes: branch, others }: PushRights): CheckResult {
  const who = `${user === '' ? 'this key' : user} (${roles})`;
  if (branch !== null && !writes.includes(branch))
    return noRight(`the hook of the host does not let ${who} write ${branch}`, branch);
  const extra = roles === 'local' ? [] : others.filter((other) => writes.includes(other));
  if (extra.length > 0) return tooMuch(who, extra);
  return branch === null
    ? readsOnly
    : ok(`the hook of the host lets ${who} write ${branch}, and not ${others.join(', ')}`);
}

const ownRules = (branch: string | null, why: string): CheckResult =>
  ok(
    branch === null
      ? `${why}, so what this key may write there is not known here`
      : `a push to ${branch} can begin; ${why}, so whether its own rules accept it shows only at the first real push`,
  );

/** Judges what the host said to the probe; null if it accepted it. */
function judge(said: string | null, rights: PushRights): CheckResult {
  const { writes } = rights;
  if (said === null) return ownRules(writes, 'the host has no hook of signpipe');
  const answer = answerIn(said);
  if (answer) return judgeAnswer(answer, rights);
  if (/signpipe: this key has no role here/.test(said))
    return writes === null
      ? readsOnly
      : noRight('the hook of the host lets this key only read: it has no role there', writes);
  if (/signpipe: there is no place for refs\/signpipe\/probe/.test(said))
    return warning(
      'hook-old',
      'the hook of the host is of an older version of signpipe',
      'the operator of the Git host copies pipeline/hooks/update to hooks/update and hooks/pre-receive of the repository',
    );
  return ownRules(writes, 'the host refuses other refs');
}

/** Whether the host refuses pushes of this key before any hook runs, as for a deploy key that may only read. */
async function refusesPushes(git: Git, url: string, refspec: string): Promise<boolean> {
  try {
    await beginPush(git, url, refspec);
    return false;
  } catch (error) {
    if (error instanceof SignpipeError && error.code === 'git-refused') return true;
    throw error;
  }
}

/** Whether the host accepts heartbeats, by what it said to the probe, and if that does not show it, by a probe beside them. */
async function acceptsHeartbeats(said: string | null, push: () => Promise<string | null>): Promise<boolean> {
  if (said === null) return true;
  const answer = answerIn(said);
  return answer ? answer.heartbeats : (await push()) === null;
}

const heartbeatResult = (accepted: boolean): CheckResult =>
  accepted
    ? ok('the host accepts heartbeats')
    : warning(
        'heartbeats-refused',
        `the host lets this key push no heartbeats (${HEALTH_REFS}): others cannot see how this signer is`,
        'the operator of the Git host copies pipeline/hooks/update to hooks/update and hooks/pre-receive of the repository, or permits these refs; or set health: { heartbeat: off } in signer.yaml',
      );

/** Asks the host what this key may write, without changing a branch. Throws what keeps a push from beginning. */
export async function checkPush(
  repository: ControlRepository,
  git: Git,
  rights: PushRights,
): Promise<CheckResult[]> {
  const { url, branches } = repository;
  const probe = await writeProbe(repository);
  const refspec = `${probe}:refs/heads/${rights.writes ?? branches.requests}`;
  if (rights.writes !== null) await beginPush(git, url, refspec);
  else if (await refusesPushes(git, url, refspec)) return [readsOnly];
  const said = await pushProbe(git, url, probe, PROBE);
  const result = judge(said, rights);
  if (!rights.heartbeats || result.status === 'bad') return [result];
  const accepted = await acceptsHeartbeats(said, () => pushProbe(git, url, probe, HEARTBEAT_PROBE));
  return [result, heartbeatResult(accepted)];
}

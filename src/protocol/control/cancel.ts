import { isRefused } from '../../lib/errors.ts';
import { whoSigned, type CommitSignature, type CommitSigners } from '../../lib/git/commit-signature.ts';
import { shortId, type Commit, type GitIdentity } from '../../lib/git/objects.ts';
import { formatTrailers, parseTrailers, trailerValues } from '../../lib/git/trailers.ts';
import type { SignerKey } from '../../lib/sshsig/persons.ts';
import { CONTROL_TRAILER, isVouchMessage, rootsNamed } from './control-trailers.ts';
import type { ControlRepository } from './repository.ts';
import { signatureWhenSeen, type SeenOptions } from './signed-when-seen.ts';
import { writeCommit, type CommitSigner } from './write-commit.ts';

/** Names the request that a commit cancels, by its full id. */
const CANCEL_TRAILER = 'Cancel';

/** A commit that says that it cancels a request. Whether it counts, `flawOf` decides. */
export interface CancelCommit {
  readonly commit: string;
  /** The request that it names. */
  readonly request: string;
}

/** A cancellation that counts. */
export interface Cancellation {
  readonly commit: string;
  /** The principal who signed it; null if it need not be signed. */
  readonly by: string | null;
}

/** A commit that names a request in a trailer `Cancel:` and does not cancel it. */
export interface IgnoredCancel {
  readonly commit: string;
  /** The end of a sentence whose subject is the commit. */
  readonly why: string;
}

/** The id that a message's only trailer `Cancel:` names, in lower case; null without one. */
export function requestCancelledBy(message: string): string | null {
  // Only for speed: most messages do not contain the word.
  if (!/cancel/i.test(message)) return null;
  const [id, ...more] = trailerValues(parseTrailers(message), CANCEL_TRAILER);
  return id !== undefined && more.length === 0 && /^[0-9a-f]{40}$/i.test(id) ? id.toLowerCase() : null;
}

export interface CancelOptions extends SeenOptions {
  /** Who may sign on the request's channel; null if anyone may. */
  readonly allowed: CommitSigners | null;
  /** Who may lift a HOLD, and so cancel each request: the allowed signers of the channel `default`. */
  readonly lifters: CommitSigners | null;
  /** Who made the request; null if that is not proved. */
  readonly requester: SignerKey | null;
  /** The request's channel accepts unsigned requests: then a cancellation need not be signed either. */
  readonly acceptUnsigned?: boolean;
  /** Whether roots that lines `Control:` name are those of this repository. */
  readonly isMeant: (roots: readonly string[]) => boolean;
}

/** Whether two signers are one person by the lines of an allowed signers file. */
function isSamePerson(allowed: CommitSigners, one: SignerKey, other: SignerKey): boolean {
  const persons = allowed.persons();
  persons.add(one);
  persons.add(other);
  return persons.isSamePerson(one, other);
}

/** Who signed a cancelling commit, if that person may cancel the request; else null. */
async function cancellerOf(commit: Commit, options: CancelOptions): Promise<CommitSignature | null> {
  const { allowed, lifters, requester } = options;
  if (allowed && requester) {
    const signature = await signatureWhenSeen(commit, allowed, options);
    if (!('code' in signature) && isSamePerson(allowed, whoSigned(signature), requester)) return signature;
  }
  const signature = lifters && (await signatureWhenSeen(commit, lifters, options));
  return signature && !('code' in signature) ? signature : null;
}

/** Why the form of a commit keeps it from cancelling a request, whoever signed it; null if it does not. */
async function formFlaw(
  repository: ControlRepository,
  commit: Commit,
  request: string,
  { isMeant }: CancelOptions,
): Promise<string | null> {
  const [parent, ...more] = commit.parents;
  if (parent === undefined || more.length > 0) return 'does not have exactly one parent';
  if (commit.tree !== (await repository.readCommit(parent)).tree) return 'changes files too';
  if (isVouchMessage(commit.message)) return 'is a vouch';
  if (!isMeant(rootsNamed(commit.message))) return 'says that it is for another control repository';
  if (!(await repository.isAncestor(request, parent))) return 'does not descend from the request';
  return null;
}

/** Judges one commit that names a request in a trailer `Cancel:`. */
async function judgeCancel(
  repository: ControlRepository,
  { commit: id, request }: CancelCommit,
  options: CancelOptions,
): Promise<Cancellation | IgnoredCancel> {
  try {
    const commit = await repository.readCommit(id);
    const flaw = await formFlaw(repository, commit, request, options);
    if (flaw !== null) return { commit: id, why: flaw };
    const signature = await cancellerOf(commit, options);
    if (signature) return { commit: id, by: signature.principal };
    if (options.acceptUnsigned === true) return { commit: id, by: null };
    return { commit: id, why: 'is signed neither by the requester nor by a person who may lift a HOLD' };
  } catch (error) {
    if (isRefused(error)) return { commit: id, why: `cannot be read: ${error.message}` };
    throw error;
  }
}

/**
 * The first of these commits that cancels a request. It has to descend from the request, have exactly one parent and that
 * parent's tree, have no line `Vouch:`, and be signed by the person who made the request or by one who may lift a HOLD.
 * `ignored` are those before it that do not count.
 */
export async function findCancellation(
  repository: ControlRepository,
  commits: readonly CancelCommit[],
  options: CancelOptions,
): Promise<{ readonly cancellation: Cancellation | null; readonly ignored: readonly IgnoredCancel[] }> {
  const ignored: IgnoredCancel[] = [];
  for (const each of commits) {
    const judged = await judgeCancel(repository, each, options);
    if ('by' in judged) return { cancellation: judged, ignored };
    ignored.push(judged);
  }
  return { cancellation: null, ignored };
}

interface NewCancel {
  /** The tip of the request branch, which has the request in its history. */
  readonly parent: string;
  readonly request: string;
  /** A root of the request branch. */
  readonly root: string | null;
  /** Why, for people. */
  readonly reason?: string | undefined;
  readonly signer: CommitSigner;
  readonly identity: GitIdentity;
  readonly at: Date;
}

/** Writes a commit that cancels a request and returns its id. It counts once it is pushed to the request branch. */
export async function createCancelCommit(repository: ControlRepository, cancel: NewCancel): Promise<string> {
  const { parent, request, root, reason, signer, identity, at } = cancel;
  const { tree } = await repository.readCommit(parent);
  const trailers = [{ key: CANCEL_TRAILER, value: request }];
  if (root !== null) trailers.push({ key: CONTROL_TRAILER, value: root });
  const why = reason === undefined ? '' : `${reason}\n\n`;
  const message = `Cancel ${shortId(request)}\n\n${why}${formatTrailers(trailers)}`;
  return writeCommit(repository, [], { tree, parents: [parent], identity, at, message }, signer);
}

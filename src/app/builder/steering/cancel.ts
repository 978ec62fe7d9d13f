import { setTimeout as sleep } from 'node:timers/promises';
import { notAllowed, SignpipeError } from '../../../lib/errors.ts';
import { claimedKey, signedIdentity } from '../../../lib/git/commit-signature.ts';
import { shortId } from '../../../lib/git/objects.ts';
import { parsePublicKey } from '../../../lib/sshsig/ssh-key.ts';
import { createCancelCommit, findCancellation, type CancelCommit } from '../../../protocol/control/cancel.ts';
import { CancelIndex } from '../../../protocol/control/cancel-index.ts';
import type { FoundReceipt } from '../../../protocol/control/receipt.ts';
import { committerOf } from '../../config/open.ts';
import { appendCommit, rootForTrailer } from '../append-commit.ts';
import { requestRace } from '../push-request.ts';
import type { ControlSession } from '../session.ts';
import { answerTo, findRequest, type KnownRequest } from './known-request.ts';

export interface CancelRequestOptions {
  /** Why, for people. */
  readonly reason?: string | undefined;
  /** How long to wait for the signer's answer, in milliseconds; 0 unless given. */
  readonly timeout?: number | undefined;
  /** Milliseconds between polls; 2 s unless given. */
  readonly interval?: number | undefined;
}

/** What became of a request that was to be cancelled. */
export interface Cancelled {
  readonly request: string;
  /** `rejected` and `failed`: there is nothing to cancel any more. `requested`: the signer has not answered yet. */
  readonly state: 'requested' | 'cancelled' | 'rejected' | 'failed';
  /** The cancelling commit; null if none was needed. */
  readonly cancel: string | null;
  readonly receipt: string | null;
}

/** Throws `cancel-too-late` if the request was signed. */
function settled({ id, receipt }: FoundReceipt, request: string, cancel: string | null): Cancelled {
  const { outcome, reason } = receipt;
  if (outcome === 'signed')
    throw notAllowed(
      'cancel-too-late',
      `request ${shortId(request)} was signed before it could be cancelled: receipt ${shortId(id)}`,
      {
        hint: 'the signed files exist: do not publish them, and have them removed from the exchange. If they do harm, the signing certificate can be revoked: signpipe audit --revoked-at shows what that would mean',
      },
    );
  const state = reason?.code === 'request-cancelled' ? 'cancelled' : outcome;
  return { request, state, cancel, receipt: id };
}

/**
 * A commit by this key that cancels the request already, or null. It is judged as the signer judges it: one that only
 * seems to be ours must not keep us from cancelling.
 */
async function earlierCancel(
  { repository, config }: ControlSession,
  { request, heads }: KnownRequest,
  fingerprint: string,
): Promise<string | null> {
  if (heads.requests === null) return null;
  const own: CancelCommit[] = [];
  const { commits } = await new CancelIndex(repository).find(request, heads.requests);
  for (const each of commits) {
    const { raw } = await repository.readCommit(each.commit);
    if (claimedKey(raw)?.fingerprint === fingerprint && signedIdentity(raw) !== null) own.push(each);
  }
  if (own.length === 0) return null;
  const root = await rootForTrailer(repository, heads, config);
  const { cancellation } = await findCancellation(repository, own, {
    // Who signed them is known.
    acceptUnsigned: true,
    allowed: null,
    lifters: null,
    requester: null,
    isMeant: (roots) => roots.every((named) => named === root),
  });
  return cancellation?.commit ?? null;
}

async function pushCancel(session: ControlSession, request: string, reason?: string): Promise<string> {
  const { repository } = session;
  const { signer, identity } = await committerOf(session);
  const id = await appendCommit(
    session,
    repository.branches.requests,
    (heads) => heads.requests,
    (parent, root) =>
      createCancelCommit(repository, {
        parent: parent ?? request,
        request,
        root,
        reason,
        signer,
        identity,
        at: new Date(),
      }),
  );
  if (id === null) throw requestRace();
  return id;
}

/**
 * Cancels a request by a signed commit, unless it is answered already. Without a time-out it returns when the commit is
 * pushed: then the signer rejects the request unless it is using the key for it at this moment. Throws `cancel-too-late`
 * (not-allowed) if the request was signed, and `cancel-unanswered` (timeout).
 */
export async function cancel(
  session: ControlSession,
  text: string,
  { reason, timeout = 0, interval = 2000 }: CancelRequestOptions = {},
): Promise<Cancelled> {
  const known = await findRequest(session, text);
  const { id } = known.request;
  if (known.answer) return settled(known.answer, id, null);
  const { signer } = await committerOf(session);
  const { fingerprint } = parsePublicKey(signer.publicKey, 'requests.key');
  const commit =
    (await earlierCancel(session, known, fingerprint)) ?? (await pushCancel(session, id, reason));
  session.say(`request ${shortId(id)}: cancelled by commit ${shortId(commit)}`);
  const deadline = performance.now() + timeout;
  for (;;) {
    const answer = await answerTo(session, id, await session.repository.fetch());
    if (answer) return settled(answer, id, commit);
    const left = deadline - performance.now();
    if (timeout === 0) return { request: id, state: 'requested', cancel: commit, receipt: null };
    if (left <= 0) throw unanswered(id);
    await sleep(Math.min(left, interval));
  }
}

const unanswered = (request: string): SignpipeError =>
  new SignpipeError(
    'timeout',
    'cancel-unanswered',
    `request ${shortId(request)} is cancelled, but the signer has not answered it yet`,
    { hint: 'once the signer runs, it rejects the request: signpipe wait shows that' },
  );

import { notAllowed, type SignpipeError } from '../../../lib/errors.ts';
import { shortId } from '../../../lib/git/objects.ts';
import type { SignerKey } from '../../../lib/sshsig/persons.ts';
import { findCancellation, type Cancellation, type CancelOptions } from '../../../protocol/control/cancel.ts';
import { MOST_PER_REQUEST } from '../../../protocol/control/cancel-index.ts';
import type { Heads } from '../../../protocol/control/repository.ts';
import { unmet, type UnmetPrecondition } from '../channel/unmet-precondition.ts';
import type { SignerContext } from '../context/signer-context.ts';
import type { Requester } from './policy.ts';
import type { PermittedRequest } from './permitted-request.ts';

/** The most commits of which the log said why they do not count. */
const REPORTED = 10_000;

/** Commits that the log has reported, so that each is reported once. */
const reported = new WeakMap<SignerContext['cancels'], Set<string>>();

function reportOnce(context: SignerContext, request: string, commit: string, why: string): void {
  const seen = reported.get(context.cancels) ?? new Set();
  reported.set(context.cancels, seen);
  if (seen.has(commit)) return;
  if (seen.size >= REPORTED) seen.clear();
  seen.add(commit);
  context.log.warn({ request, commit }, `${shortId(commit)} does not cancel ${shortId(request)}: it ${why}`);
}

/** Who made a request, as far as that is proved. */
const personOf = ({ principal, key, certified = [] }: Requester): SignerKey | null =>
  principal === null || key === null ? null : { fingerprint: key, names: [principal, ...certified] };

const optionsFor = (context: SignerContext, { channel, requester }: PermittedRequest): CancelOptions => ({
  allowed: channel.allowed ?? null,
  lifters: context.channels.get('default')?.allowed ?? null,
  requester: personOf(requester),
  acceptUnsigned: channel.config.trust.unsignedRequests === 'accept',
  isMeant: (roots) => context.origin.isMeant(roots),
  now: context.now(),
  firstSeen: (commit) => context.acceptedHeads.firstSeen(context.repository, commit),
});

/**
 * Throws `request-cancelled` if a commit up to these heads cancels the request. Others that name it are logged, once each.
 * Returns `cancels-unread` if there are more of them than are judged: a person who can push must not be able to hide a
 * cancellation behind others.
 */
export async function checkCancelled(
  context: SignerContext,
  permitted: PermittedRequest,
  { requests }: Pick<Heads, 'requests'>,
): Promise<UnmetPrecondition | null> {
  if (requests === null) return null;
  const { request } = permitted;
  const { commits, more } = await context.cancels.find(request, requests);
  if (commits.length === 0 && !more) return null;
  const { cancellation, ignored } = await findCancellation(
    context.repository,
    commits,
    optionsFor(context, permitted),
  );
  for (const { commit, why } of ignored) reportOnce(context, request.id, commit, why);
  if (cancellation) throw cancelled(request.id, cancellation);
  if (!more) return null;
  return unmet(
    'cancels-unread',
    `more than ${MOST_PER_REQUEST} commits say that they cancel it, and the newest of them do not: an older one may. To have it refused: signpipe cancel ${shortId(request.id)}; then to have its files signed: signpipe retry [cancels-unread]`,
  );
}

const cancelled = (request: string, { commit, by }: Cancellation): SignpipeError =>
  notAllowed(
    'request-cancelled',
    `request ${shortId(request)} was cancelled by ${by ?? 'an unsigned commit'} (commit ${commit})`,
    { hint: `to have the files signed after all: signpipe retry ${shortId(request)}` },
  );

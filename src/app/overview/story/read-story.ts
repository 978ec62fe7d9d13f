import { isInvalid, isRefused, usage } from '../../../lib/errors.ts';
import {
  ANYONE,
  verifyCommitSignature,
  type CommitSignature,
  type CommitSigners,
} from '../../../lib/git/commit-signature.ts';
import { shortId } from '../../../lib/git/objects.ts';
import { plural } from '../../../lib/plural.ts';
import { findReceipt } from '../../../protocol/control/receipt-history.ts';
import { readReceipt, type FoundReceipt } from '../../../protocol/control/receipt.ts';
import type { Receipt } from '../../../protocol/control/receipt-schema.ts';
import type { ControlRepository } from '../../../protocol/control/repository.ts';
import { readRequest, type Request } from '../../../protocol/control/request.ts';
import { signedStatements, countVouches } from '../../../protocol/control/vouch.ts';
import type { Notice } from '../model.ts';
import { readOverview, readTrusted, type OverviewOptions } from '../read-overview.ts';
import { signatureOf } from '../vouch-counter.ts';
import { holdsBetween, laterCommits, type LaterCommits } from './later-commits.ts';
import type { RequestStory, StoryEvent } from './request-story.ts';

/** The request that an id names: of a receipt, the one that it answers. The id may be abbreviated if it stays unique. */
async function requestNamed(repository: ControlRepository, text: string): Promise<string> {
  const id = await repository.resolveCommit(text);
  const { parents } = await repository.readCommit(id);
  const [, request] = parents;
  if (request === undefined) return id;
  try {
    await readReceipt(repository, id);
    return request;
  } catch (error) {
    if (isInvalid(error)) return id;
    throw error;
  }
}

function proofOf(raw: Buffer, signers: CommitSigners): { by: CommitSignature | null; fault: Notice | null } {
  try {
    return { by: verifyCommitSignature(raw, signers), fault: null };
  } catch (error) {
    if (!isRefused(error)) throw error;
    return { by: null, fault: { code: error.code, text: error.message } };
  }
}

/** The stages that the signer states in its receipt. */
function stagesOf({ times, outcome, reason, files }: Receipt, id: string): StoryEvent[] {
  const programs = files.reduce((sum, { signed }) => sum + signed.length, 0);
  const answer = reason ? `${outcome}: ${reason.message} [${reason.code}]` : outcome;
  const stages: [string, string | undefined, string][] = [
    ['seen', times.seen, 'first seen by the signer'],
    ['fetched', times.fetched, 'files fetched and checked against their pins'],
    ['signed', times.signed, `${plural(programs, 'program')} signed`],
    ['delivered', times.delivered, 'files delivered'],
  ];
  const events = stages.flatMap(([what, time, text]) =>
    time === undefined ? [] : [{ at: new Date(time), what, text }],
  );
  return [...events, { at: new Date(times.answered), what: 'answered', commit: id, text: answer }];
}

/** The vouches that a receipt counts, or those that agree with an unanswered request. */
async function vouchEvents(
  repository: ControlRepository,
  request: Request,
  answer: FoundReceipt | null,
  signers: CommitSigners,
): Promise<StoryEvent[]> {
  const heads = await repository.heads();
  const options = {
    allowed: signers,
    branches: heads.vouches,
    requests: heads.requests,
    requester: signatureOf(request.raw, signers),
  };
  const counted = answer
    ? answer.receipt.vouches
    : (await countVouches(await signedStatements(repository, options), request, options)).filter(
        ({ agrees }) => agrees,
      );
  const events: StoryEvent[] = [];
  for (const { commit, signer } of counted) {
    if (!(await repository.hasCommit(commit))) continue;
    const { committer, raw } = await repository.readCommit(commit);
    const proven = signatureOf(raw, signers) !== null;
    events.push({
      at: committer.at,
      what: 'vouch',
      commit,
      proven,
      text: `${signer} vouched for the same bytes`,
    });
  }
  return events;
}

/** What the queue says about a request without an answer. */
async function waitingOf(
  repository: ControlRepository,
  id: string,
  options: OverviewOptions,
): Promise<Notice> {
  const { queue } = await readOverview(repository, { ...options, recent: 0, queue: Infinity });
  const queued = queue.requests.find(({ request }) => request === id);
  return queued?.waitsFor ?? { code: 'not-queued', text: 'it is not in the queue: it needs no answer' };
}

const NOTHING_LATER: LaterCommits = { events: [], retries: [] };

const askedEvent = ({ id, committedAt, author }: Request, by: CommitSignature | null): StoryEvent => ({
  at: committedAt,
  what: 'requested',
  commit: id,
  proven: by !== null,
  text: `requested by ${by?.principal ?? `an author who claims to be ${author}`}`,
});

/**
 * The whole story of a request, from Git alone: who asked, what came between, when the signer did what, and the answer.
 * `text` is the id of the request or of its receipt, perhaps abbreviated. Throws `request-unknown`, and
 * `request-not-one` for other commits.
 */
export async function readStory(
  repository: ControlRepository,
  text: string,
  options: OverviewOptions,
): Promise<RequestStory> {
  const id = await requestNamed(repository, text);
  const request = await readRequest(repository, id);
  const heads = await repository.heads();
  const answer = heads.receipts === null ? null : await findReceipt(repository, heads.receipts, id);
  if (answer === null && request.error?.code === 'zipname-missing')
    throw usage('request-not-one', `commit ${shortId(id)} is no request: it has no zipname`, {
      hint: 'give the id that "signpipe submit" printed, or its first digits',
    });
  const signers = options.requestSigners ?? ANYONE;
  const { by, fault } = proofOf(request.raw, signers);
  const end = answer ? new Date(answer.receipt.times.answered) : (options.now ?? new Date());
  const { requests } = heads;
  const later = requests === null ? NOTHING_LATER : await laterCommits(repository, requests, id, signers);
  const during: [Date, Date] = [request.committedAt, end];
  const holds = requests === null ? [] : await holdsBetween(repository, requests, during, signers);
  const events = [
    askedEvent(request, by),
    ...(await vouchEvents(repository, request, answer, signers)),
    ...holds,
    ...later.events,
    ...(answer ? stagesOf(answer.receipt, answer.id) : []),
  ];
  const { subject, author, channel, sourceRevision, retryOf, files } = request;
  return {
    request: id,
    subject,
    author,
    askedBy: by && { principal: by.principal, key: by.fingerprint },
    unproved: fault,
    channel,
    sourceRevision: sourceRevision ?? null,
    retryOf: retryOf ?? null,
    files,
    events: events.toSorted((a, b) => a.at.getTime() - b.at.getTime()),
    answer: answer && {
      id: answer.id,
      proven: await isProven(repository, answer, options),
      receipt: answer.receipt,
    },
    waitsFor: answer ? null : await waitingOf(repository, id, options),
    retries: later.retries,
  };
}

/** Whether a key that the reader trusts for receipts signed an answer. */
async function isProven(
  repository: ControlRepository,
  { commit }: FoundReceipt,
  options: OverviewOptions,
): Promise<boolean> {
  const { receipts } = await repository.heads();
  const root = receipts === null ? null : await repository.firstParentRoot(receipts);
  const { signers } = await readTrusted(repository, receipts, root, options);
  return signatureOf(commit.raw, signers) !== null;
}

import type { CommitRef } from '../../lib/git/first-parent-walk.ts';
import { readReceipt, type FoundReceipt } from './receipt.ts';
import type { ControlRepository, Heads } from './repository.ts';
import { requestsAmong } from './request.ts';

/** One commit on the receipt branch. */
interface ReceiptStep {
  id: string;
  /** The request that it answers: its second parent. Null if it is not a receipt, as the branch's first commit. */
  request: string | null;
}

/** The commits on the receipt branch since `exclude` (null: all), oldest first. */
export async function receiptsSince(
  repository: ControlRepository,
  tip: string,
  exclude: string | null,
): Promise<ReceiptStep[]> {
  const commits = await repository.firstParents(tip, exclude === null ? [] : [exclude]);
  return commits
    .reverse()
    .map(({ id, parents }) => ({ id, request: parents.length === 2 ? (parents[1] ?? null) : null }));
}

/** Receipts by the request that they answer; if a request has several, the latest. */
export async function answeredRequests(
  repository: ControlRepository,
  tip: string,
): Promise<Map<string, string>> {
  return answersIn(await receiptsSince(repository, tip, null));
}

const answersIn = (steps: readonly ReceiptStep[]): Map<string, string> =>
  new Map(steps.flatMap(({ id, request }) => (request === null ? [] : [[request, id]])));

/** Where a walk of the history begins: after a commit of the request branch, with the head of the receipt branch at that time. */
export interface LookAfter {
  requests: string;
  /** Null if there was no branch; undefined if it is unknown. */
  receipts?: string | null | undefined;
}

/** Receipts by the request that they answer: at least those that answer one of these commits, all later than `after`. */
async function answersTo(
  repository: ControlRepository,
  commits: readonly CommitRef[],
  { requests, receipts }: { requests: string; receipts: string },
  after: LookAfter | null,
): Promise<ReadonlyMap<string, string>> {
  if (after?.receipts === undefined) return answeredRequests(repository, receipts);
  const before = after.receipts === null ? [] : [after.receipts];
  // A receipt has the request that it answers in its history: requests that no earlier receipt has can only be answered by later ones.
  const unknown = await repository.commitRefsBetween(requests, [after.requests, ...before]);
  return unknown.length === commits.length
    ? answersIn(await receiptsSince(repository, receipts, after.receipts))
    : answeredRequests(repository, receipts);
}

/** The commits of the request branch later than `after`, parents before children; all if it is null. */
export const commitsAfter = (
  repository: ControlRepository,
  requests: string,
  after: LookAfter | null,
): Promise<CommitRef[]> => repository.commitRefsBetween(requests, after === null ? [] : [after.requests]);

/** The requests that no receipt answers, oldest first: all, or those later than `after`. */
export async function unansweredRequests(
  repository: ControlRepository,
  heads: Pick<Heads, 'requests' | 'receipts'>,
  after: LookAfter | null = null,
): Promise<string[]> {
  if (heads.requests === null) return [];
  return unansweredAmong(repository, await commitsAfter(repository, heads.requests, after), heads, after);
}

/** The requests among some commits, all later than `after`, that no receipt answers, in their order. */
export async function unansweredAmong(
  repository: ControlRepository,
  commits: readonly CommitRef[],
  { requests, receipts }: Pick<Heads, 'requests' | 'receipts'>,
  after: LookAfter | null,
): Promise<string[]> {
  if (requests === null || receipts === null || commits.length === 0)
    return requestsAmong(repository, commits);
  const answered = await answersTo(repository, commits, { requests, receipts }, after);
  return requestsAmong(
    repository,
    commits.filter(({ id }) => !answered.has(id)),
  );
}

/**
 * The requests that no receipt answers, oldest first, from those that were unanswered at earlier heads. Reads only what
 * came since. Null if the branches do not continue from those heads. In any other case the result is that of
 * `unansweredRequests`: a request in the earlier history is unanswered if it was then and no later receipt answers it, and
 * for those that came since `unansweredAmong` decides.
 */
export async function unansweredSince(
  repository: ControlRepository,
  { requests, receipts }: Pick<Heads, 'requests' | 'receipts'>,
  known: { readonly requests: string; readonly receipts: string; readonly unanswered: readonly string[] },
): Promise<string[] | null> {
  if (requests === null || receipts === null) return null;
  if (!(await repository.isAncestor(known.requests, requests))) return null;
  const steps = await continuation(repository, receipts, known.receipts);
  if (steps === null) return null;
  const answered = answersIn(steps);
  const commits = await commitsAfter(repository, requests, known);
  return [
    ...known.unanswered.filter((id) => !answered.has(id)),
    ...(await unansweredAmong(repository, commits, { requests, receipts }, known)),
  ];
}

/** The commits of the receipt branch after `from`, oldest first; null if its first parents do not lead back there. */
async function continuation(
  repository: ControlRepository,
  tip: string,
  from: string,
): Promise<ReceiptStep[] | null> {
  if (tip === from) return [];
  const steps = await receiptsSince(repository, tip, from);
  const [first] = steps;
  if (first === undefined) return null;
  const { parents } = await repository.readCommit(first.id);
  return parents[0] === from ? steps : null;
}

/** The latest receipt for a request, or null. */
export async function findReceipt(
  repository: ControlRepository,
  tip: string,
  requestId: string,
): Promise<FoundReceipt | null> {
  const id = (await answeredRequests(repository, tip)).get(requestId);
  return id === undefined ? null : readReceipt(repository, id);
}

import { isInvalid } from '../../lib/errors.ts';
import type { CommitSigners } from '../../lib/git/commit-signature.ts';
import { readReceipt } from '../../protocol/control/receipt.ts';
import type { ControlRepository } from '../../protocol/control/repository.ts';
import type { RecentOutcome } from './model.ts';
import { signatureOf } from './vouch-counter.ts';

/** Commits of the branch that are looked at for each receipt that is wanted: between receipts are changes of policy. */
const COMMITS_PER_RECEIPT = 3;

/** The newest receipts, newest first. Those that cannot be read are left out: an audit names them. */
export async function recentOutcomes(
  repository: ControlRepository,
  tip: string | null,
  count: number,
  receiptSigners: CommitSigners,
): Promise<RecentOutcome[]> {
  if (tip === null || count === 0) return [];
  const commits = await repository.newestFirstParents(tip, count * COMMITS_PER_RECEIPT + 1);
  const receipts = commits.filter(({ parents }) => parents.length === 2).slice(0, count);
  const outcomes = await Promise.all(receipts.map(({ id }) => readOutcome(repository, id, receiptSigners)));
  return outcomes.filter((outcome) => outcome !== null);
}

async function readOutcome(
  repository: ControlRepository,
  id: string,
  receiptSigners: CommitSigners,
): Promise<RecentOutcome | null> {
  try {
    const { receipt, commit } = await readReceipt(repository, id);
    const { request, outcome, reason, test, files, times, signer } = receipt;
    return {
      request: request.id,
      receipt: id,
      proven: signatureOf(commit.raw, receiptSigners) !== null,
      outcome,
      test,
      reason: reason ? { code: reason.code, message: reason.message } : null,
      files: files.map(({ input }) => input.name),
      channel: request.channel,
      askedBy: request.signer,
      askedAt: new Date(request.requestedAt),
      answeredAt: new Date(times.answered),
      signer: signer?.name ?? null,
    };
  } catch (error) {
    if (isInvalid(error)) return null;
    throw error;
  }
}

import { findReceipt } from '../../../protocol/control/receipt-history.ts';
import type { FoundReceipt } from '../../../protocol/control/receipt.ts';
import type { Heads } from '../../../protocol/control/repository.ts';
import { readRequest, type Request } from '../../../protocol/control/request.ts';
import { AllowedSigners } from '../../../lib/sshsig/allowed-signers.ts';
import { answeringReceipt, notARequest, requestNamed } from '../answering-receipt.ts';
import { verifyReceiptSignature } from '../check-receipt.ts';
import type { ControlSession } from '../session.ts';

/** A request on the request branch, with its answer. */
export interface KnownRequest {
  readonly request: Request;
  readonly heads: Heads;
  /** The receipt, if there is one; of a request that repeats another, that of the other. */
  readonly answer: FoundReceipt | null;
}

/** The answer to a request, by a key that this builder trusts for receipts; null if there is none. */
export async function answerTo(
  session: ControlSession,
  request: string,
  { receipts }: Heads,
): Promise<FoundReceipt | null> {
  const { repository, config } = session;
  const found = receipts === null ? null : await findReceipt(repository, receipts, request);
  if (!found || !config.trust) return found;
  const allowed = await AllowedSigners.load(config.trust.allowedSigners);
  verifyReceiptSignature(found.commit.raw, allowed);
  return answeringReceipt(session, found, allowed);
}

/**
 * Fetches, and finds a request that a person named by its id, whole or abbreviated, or by that of its receipt. Throws
 * `request-id`, `request-unknown` and `not-a-request` (usage).
 */
export async function findRequest(session: ControlSession, text: string): Promise<KnownRequest> {
  const { repository } = session;
  const heads = await repository.fetch();
  const id = await requestNamed(session, await repository.resolveCommit(text));
  const isOnBranch = heads.requests !== null && (await repository.isAncestor(id, heads.requests));
  if (!isOnBranch)
    throw notARequest(repository, id, `the branch ${repository.branches.requests} does not have it`);
  return { request: await readRequest(repository, id), heads, answer: await answerTo(session, id, heads) };
}

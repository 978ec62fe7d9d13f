import { signedIdentity } from '../../lib/git/commit-signature.ts';
import { shortId } from '../../lib/git/objects.ts';
import { readReceipt, type FoundReceipt } from '../../protocol/control/receipt.ts';
import type { ControlRepository } from '../../protocol/control/repository.ts';
import { requestsAmong } from '../../protocol/control/request.ts';
import { invalid, isInvalid, usage, type SignpipeError } from '../../lib/errors.ts';
import type { AllowedSigners } from '../../lib/sshsig/allowed-signers.ts';
import { verifyReceiptSignature } from './check-receipt.ts';
import type { BuilderSession } from './session.ts';

type Context = Pick<BuilderSession, 'repository' | 'say'>;

/**
 * The request that a user means by a commit's id: if it is a receipt, the request that it answers. Throws
 * `not-a-request` for any other commit: no receipt would ever answer it.
 */
export async function requestNamed({ repository, say }: Context, id: string): Promise<string> {
  const { parents } = await repository.readCommit(id);
  const [, request] = parents;
  if (request !== undefined && (await isReceipt(repository, id))) {
    say(`${shortId(id)} is a receipt; it answers request ${shortId(request)}`);
    return request;
  }
  const [requested] = await requestsAmong(repository, [{ id, parents }]);
  if (requested !== undefined) return requested;
  throw notARequest(repository, id, 'it does not change zipname');
}

export const notARequest = ({ branches }: ControlRepository, id: string, why: string): SignpipeError =>
  usage('not-a-request', `${shortId(id)} is not a request: ${why}`, {
    hint: `git log ${branches.requests} -- zipname lists the requests`,
  });

async function isReceipt(repository: ControlRepository, id: string): Promise<boolean> {
  try {
    await readReceipt(repository, id);
    return true;
  } catch (error) {
    if (isInvalid(error)) return false;
    throw error;
  }
}

const identityOf = async (repository: ControlRepository, id: string): Promise<string | null> =>
  signedIdentity((await repository.readCommit(id)).raw);

/**
 * The receipt that answers a request: the one found for it or, if that says `request-repeated`, the one that it names.
 * Throws `receipt-repeats-other` unless both requests are the same signed payload: a signer must not answer with the
 * files of another request. Returns the found receipt if the named one is not in the clone.
 */
export async function answeringReceipt(
  { repository, say }: Context,
  answer: FoundReceipt,
  allowed: AllowedSigners,
): Promise<FoundReceipt> {
  const { request, repeats } = answer.receipt;
  if (repeats?.receipt === undefined) return answer;
  verifyReceiptSignature(answer.commit.raw, allowed);
  if (!(await repository.hasCommit(repeats.receipt))) return answer;
  const first = await readReceipt(repository, repeats.receipt);
  const identity = await identityOf(repository, request.id);
  const same =
    identity !== null &&
    first.receipt.request.id === repeats.request &&
    (await identityOf(repository, repeats.request)) === identity;
  if (!same)
    throw invalid(
      'receipt-repeats-other',
      `the receipt of ${shortId(request.id)} says that it repeats ${shortId(repeats.request)}, which is another request`,
      { hint: 'do not use the signed files; ask the signer operator' },
    );
  say(`request ${shortId(request.id)} repeats ${shortId(repeats.request)}: using the answer to that request`);
  return first;
}

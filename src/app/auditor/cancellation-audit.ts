import { invalid } from '../../lib/errors.ts';
import { signedIdentity, whoSigned } from '../../lib/git/commit-signature.ts';
import { shortId } from '../../lib/git/objects.ts';
import type { AllowedSigners } from '../../lib/sshsig/allowed-signers.ts';
import { findCancellation, requestCancelledBy, type CancelOptions } from '../../protocol/control/cancel.ts';
import type { Receipt } from '../../protocol/control/receipt-schema.ts';
import type { ControlRepository } from '../../protocol/control/repository.ts';
import type { AuditedRequest } from './request-audit.ts';

/** How a receipt names the commit that cancelled its request. */
const NAMED_COMMIT = /\(commit ([0-9a-f]{40})\)/;

interface CancellationContext {
  readonly repository: ControlRepository;
  /** The head of the request branch. */
  readonly requests: string | null;
  readonly allowed: AllowedSigners;
  readonly now: Date;
  /** The policy of the receipt accepts unsigned requests on its channel. */
  readonly acceptUnsigned: boolean;
}

/** Whether two commits are the same request, perhaps under different ids. */
async function isSameRequest(
  repository: ControlRepository,
  { request }: AuditedRequest,
  other: string | null,
): Promise<boolean> {
  if (other === null || other === request.id) return other !== null;
  if (!(await repository.hasCommit(other))) return false;
  const identity = signedIdentity(request.raw);
  return identity !== null && signedIdentity((await repository.readCommit(other)).raw) === identity;
}

/**
 * Checks a receipt that says that its request was cancelled: the commit that it names has to cancel that request,
 * and to be on the request branch. Throws
 * `cancel-missing` and `cancel-other` (invalid): the signer refused what nobody withdrew.
 */
export async function requireCancellation(
  { repository, requests, allowed, now, acceptUnsigned }: CancellationContext,
  { reason, request: { id }, times }: Receipt,
  audited: AuditedRequest,
): Promise<void> {
  if (reason?.code !== 'request-cancelled') return;
  const [, commit = ''] = NAMED_COMMIT.exec(reason.message) ?? [];
  if (commit === '' || !(await repository.hasCommit(commit)))
    throw invalid('cancel-missing', `it says that ${shortId(id)} was cancelled, and no commit did that`);
  const named = requestCancelledBy((await repository.readCommit(commit)).message);
  const requester = audited.by && whoSigned(audited.by);
  const options: CancelOptions = {
    allowed,
    lifters: allowed,
    requester,
    acceptUnsigned,
    isMeant: () => true,
    now,
    // The signer had seen it by then; a key that expired later changes nothing.
    firstSeen: () => Promise.resolve(new Date(times.answered)),
  };
  const { cancellation, ignored } = (await isSameRequest(repository, audited, named))
    ? await findCancellation(repository, [{ commit, request: named ?? id }], options)
    : { cancellation: null, ignored: [] };
  const isOnBranch = requests !== null && (await repository.isAncestor(commit, requests));
  if (cancellation && isOnBranch) return;
  const aside = cancellation ? 'is not on the request branch' : null;
  const why = aside ?? ignored[0]?.why ?? 'names another request';
  throw invalid(
    'cancel-other',
    `it says that ${shortId(commit)} cancelled ${shortId(id)}, but that commit ${why}`,
  );
}

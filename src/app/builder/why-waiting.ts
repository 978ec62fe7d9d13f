import type { AllowedSigners } from '../../lib/sshsig/allowed-signers.ts';
import { ANYONE } from '../../lib/git/commit-signature.ts';
import { shortId } from '../../lib/git/objects.ts';
import { isRefused } from '../../lib/errors.ts';
import { readHold } from '../../protocol/control/hold.ts';
import {
  channelIn,
  readSignedPolicy,
  type PublishedPolicy,
} from '../../protocol/control/published-policy.ts';
import type { Heads } from '../../protocol/control/repository.ts';
import { readRequest, type Request } from '../../protocol/control/request.ts';
import { Cancellations } from '../overview/cancellations.ts';
import { VouchCounter } from '../overview/vouch-counter.ts';
import { holdReason, waitingReason } from '../overview/waiting-reason.ts';
import type { BuilderSession } from './session.ts';

/** Reports what an unanswered request waits for, as far as that is known here, whenever that changes. */
export class WaitingReport {
  /** What the request waits for; null if nothing is known. */
  why: string | null = null;
  private reported: string | null = null;
  private request: Request | null = null;
  /** Only for speed: the policy of this tip of the receipt branch, read and verified once. */
  private known: { readonly tip: string | null; readonly policy: PublishedPolicy | null } | null = null;

  constructor(
    private readonly session: Pick<BuilderSession, 'repository' | 'say'>,
    private readonly id: string,
    private readonly receiptSigners: AllowedSigners,
  ) {}

  async update(heads: Heads): Promise<void> {
    const { repository, say } = this.session;
    this.request ??= await readRequest(repository, this.id);
    this.why = await this.reason(this.request, heads);
    const line = this.why ?? 'waiting for the signer to answer';
    if (line !== this.reported) say(`request ${shortId(this.id)}: ${line}`);
    this.reported = line;
  }

  /**
   * A builder knows the signer's published policy, but neither its list of keys nor its clock. So a vouch by a key
   * that the signer does not know counts here and not there. Null if nothing is known to delay the request.
   */
  private async reason(request: Request, heads: Heads): Promise<string | null> {
    const { repository } = this.session;
    try {
      const hold =
        heads.requests === null ? null : await readHold(repository, heads.requests, { allowed: ANYONE });
      const policy = await this.policyAt(heads.receipts);
      const vouches = new VouchCounter(repository, { allowed: ANYONE, heads, roots: policy?.roots });
      const cancellations = new Cancellations(repository, {
        tip: heads.requests,
        allowed: ANYONE,
        named: false,
        roots: policy?.roots,
      });
      const reason = await waitingReason(request, {
        cancelled: (acceptUnsigned) => cancellations.reasonFor(request, acceptUnsigned),
        hold: await holdReason(repository, hold, { named: false }),
        policy: channelIn(policy, request.channel),
        vouches: () => vouches.agreeing(request),
        now: new Date(),
      });
      return reason?.text ?? null;
    } catch (error) {
      // What cannot be read or trusted explains nothing; only the receipt decides.
      if (isRefused(error)) return null;
      throw error;
    }
  }

  private async policyAt(tip: string | null): Promise<PublishedPolicy | null> {
    if (this.known?.tip !== tip)
      this.known = { tip, policy: await readSignedPolicy(this.session.repository, tip, this.receiptSigners) };
    return this.known.policy;
  }
}

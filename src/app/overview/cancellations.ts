import { whoSigned, type CommitSigners } from '../../lib/git/commit-signature.ts';
import { isInvalid } from '../../lib/errors.ts';
import { shortId } from '../../lib/git/objects.ts';
import { CancelIndex, MOST_PER_REQUEST, type NamingCommits } from '../../protocol/control/cancel-index.ts';
import { findCancellation, type CancelOptions } from '../../protocol/control/cancel.ts';
import type { ControlRepository } from '../../protocol/control/repository.ts';
import { readRequest, type Request } from '../../protocol/control/request.ts';
import type { Notice } from './model.ts';
import { signatureOf } from './vouch-counter.ts';

/** What the signer has not seen yet is among the newest commits; more are not read. */
const NEWEST = 2000;

interface CancellationOptions {
  /** The head of the request branch. */
  readonly tip: string | null;
  /** Who may sign; `ANYONE` if the reader has no list. */
  readonly allowed: CommitSigners;
  /** Whether the reader has a list of keys. Without one, only the key that made a request is known to be allowed to cancel it. */
  readonly named: boolean;
  /** The pinned roots, if they are published. */
  readonly roots: readonly string[] | undefined;
  readonly now?: Date;
}

/** Which requests without an answer are cancelled: the signer rejects them once it sees that. */
export class Cancellations {
  private readonly index: CancelIndex;
  private begun: Promise<unknown> | undefined;

  constructor(
    private readonly repository: ControlRepository,
    private readonly options: CancellationOptions,
  ) {
    this.index = new CancelIndex(repository, NEWEST);
  }

  /** Reads what follows the oldest of the requests that will be asked about, so that it is read once. */
  async beginAt(oldest: string | undefined): Promise<void> {
    if (oldest === undefined) return;
    this.begun ??= this.naming(await readRequest(this.repository, oldest));
    await this.begun;
  }

  /** Why a request waits that is cancelled already; null if it is not. */
  async reasonFor(request: Request, acceptUnsigned = false): Promise<Notice | null> {
    const naming = await this.naming(request);
    if (!naming || (naming.commits.length === 0 && !naming.more)) return null;
    const options = this.optionsFor(request, acceptUnsigned);
    const { cancellation } = await findCancellation(this.repository, naming.commits, options);
    if (cancellation) {
      const by = cancellation.by === null ? '' : ` by ${cancellation.by}`;
      const text = `cancelled${by} (commit ${shortId(cancellation.commit)}); the signer has not seen that yet`;
      return { code: 'cancelled', text };
    }
    if (!naming.more) return null;
    const text = `more than ${MOST_PER_REQUEST} commits say that they cancel it, and the newest of them do not: the signer waits for another`;
    return { code: 'cancels-unread', text };
  }

  private async naming(request: Request): Promise<NamingCommits | null> {
    const { tip } = this.options;
    try {
      return tip === null ? null : await this.index.find(request, tip);
    } catch (error) {
      // What cannot be read explains nothing; only the receipt decides.
      if (isInvalid(error)) return null;
      throw error;
    }
  }

  private optionsFor({ raw }: Request, acceptUnsigned: boolean): CancelOptions {
    const { allowed, named, roots, now } = this.options;
    const by = signatureOf(raw, allowed);
    return {
      allowed,
      lifters: named ? allowed : null,
      requester: by && whoSigned(by),
      acceptUnsigned,
      isMeant: (ids) => roots === undefined || ids.every((id) => roots.includes(id)),
      ...(now && { now }),
    };
  }
}

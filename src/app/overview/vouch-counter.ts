import { SignpipeError } from '../../lib/errors.ts';
import {
  verifyCommitSignature,
  type CommitSignature,
  type CommitSigners,
} from '../../lib/git/commit-signature.ts';
import { Origin } from '../../protocol/control/commit-origin.ts';
import type { ControlRepository, Heads } from '../../protocol/control/repository.ts';
import type { Request } from '../../protocol/control/request.ts';
import { countVouches, signedStatements, type VouchOptions } from '../../protocol/control/vouch.ts';

/** The signature of a commit if a key of the list made it, else null. */
export function signatureOf(raw: Buffer, allowed: CommitSigners): CommitSignature | null {
  try {
    return verifyCommitSignature(raw, allowed);
  } catch (error) {
    if (error instanceof SignpipeError) return null;
    throw error;
  }
}

interface CounterOptions {
  readonly allowed: CommitSigners;
  readonly heads: Heads;
  /** The pinned roots, if they are published: then only vouches for this repository count. */
  readonly roots: readonly string[] | undefined;
  readonly now?: Date;
}

/** Counts the vouches for requests. The branches are read at the first question, and once. */
export class VouchCounter {
  private statements: ReturnType<typeof signedStatements> | undefined;
  private readonly options: Omit<VouchOptions, 'requester'>;

  constructor(
    private readonly repository: ControlRepository,
    { allowed, heads, roots, now }: CounterOptions,
  ) {
    this.options = {
      allowed,
      branches: heads.vouches,
      requests: heads.requests,
      origin: roots && new Origin(repository, () => ({ ids: roots, configured: true })),
      ...(now && { now }),
    };
  }

  /** How many persons other than the requester vouch for the bytes that a request pins. */
  async agreeing(request: Request): Promise<number> {
    const options = { ...this.options, requester: signatureOf(request.raw, this.options.allowed) };
    this.statements ??= signedStatements(this.repository, options);
    const vouches = await countVouches(await this.statements, request, options);
    return vouches.filter(({ agrees }) => agrees).length;
  }
}

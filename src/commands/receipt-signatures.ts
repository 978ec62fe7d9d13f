import { findReceipt } from '../control/receipt.ts';
import { invalid, usage } from '../errors.ts';
import type { DetachedSignature } from '../signing/attach-file.ts';
import { withRepository } from './repository.ts';

/** Signatures to attach. */
export interface Wanted {
  readonly wanted: DetachedSignature[];
  /** What the whole result must come to, when somebody said. */
  readonly sha256: string | undefined;
}

/** The detached signatures of one request, out of the control repository. */
export const fromReceipt = (
  request: string,
  repo: string,
  branches: { requests: string; receipts: string },
): Promise<Wanted> =>
  withRepository(repo, branches, async (repository) => {
    const { receipts } = await repository.heads();
    const id = await repository.resolveCommit(request);
    const found = receipts === null ? null : await findReceipt(repository, receipts, id);
    const [file, ...others] = found?.receipt.files ?? [];
    if (!found || found.receipt.outcome !== 'signed' || !file)
      throw invalid('not-signed', `request ${request}: nothing was signed for it`);
    if (others.length > 0)
      throw usage('receipt-of-several', `request ${request} is about several files`, {
        hint: 'attach with --signature, one file at a time',
      });
    const wanted: DetachedSignature[] = [];
    for (const { path, before, after } of file.signed)
      wanted.push({
        path,
        before: before.sha256,
        after: after.sha256,
        signature: await found.signature(before.sha256),
      });
    return { wanted, sha256: file.output?.sha256 };
  });

import { findReceipt, type ReceiptFile } from '../../protocol/control/receipt.ts';
import { invalid, usage } from '../../lib/errors.ts';
import type { DetachedSignature } from '../../engine/artifact/attach-file.ts';
import { withRepository } from './repository.ts';

/** Signatures to attach. */
export interface Wanted {
  readonly wanted: DetachedSignature[];
  /** What the whole result must come to, when somebody said. */
  readonly sha256: string | undefined;
}

/** Of the files of one request, the only one, or the one of a name. */
function fileNamed(files: readonly ReceiptFile[], name: string, request: string): ReceiptFile | undefined {
  if (files.length < 2) return files[0];
  const named = files.find(({ input }) => input.name === name);
  if (named) return named;
  throw usage(
    'receipt-of-several',
    `request ${request} is about ${files.length} files, none of them ${name}`,
    {
      hint: `give the file its name there: ${files.map(({ input }) => input.name).join(', ')}`,
    },
  );
}

/**
 * The detached signatures of one request for a file, out of the control repository. Of several files
 * the request's one of that name is meant.
 */
export const fromReceipt = (
  request: string,
  repo: string,
  name: string,
  branches: { requests: string; receipts: string },
): Promise<Wanted> =>
  withRepository(repo, branches, async (repository) => {
    const { receipts } = await repository.heads();
    const id = await repository.resolveCommit(request);
    const found = receipts === null ? null : await findReceipt(repository, receipts, id);
    const file = fileNamed(found?.receipt.files ?? [], name, request);
    if (!found || found.receipt.outcome !== 'signed' || !file)
      throw invalid('not-signed', `request ${request}: nothing was signed for it`);
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

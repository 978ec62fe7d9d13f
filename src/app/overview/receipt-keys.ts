import { isRefused } from '../../lib/errors.ts';
import type { CommitSigners } from '../../lib/git/commit-signature.ts';
import type { ControlRepository } from '../../protocol/control/repository.ts';
import { onlyOwner, readProvenOwner } from '../../protocol/control/receipts-owner.ts';
import type { Notice } from './model.ts';

/**
 * From a list of all signers, the one key that the receipt branch, given by its first commit, belongs to. No key if the owner is not proved; `fault` says why.
 */
export async function ownerOf(
  repository: ControlRepository,
  root: string | null,
  signers: CommitSigners,
): Promise<{ readonly signers: CommitSigners; readonly fault: Notice | null }> {
  if (root === null) return { signers: onlyOwner(signers, null), fault: null };
  try {
    const { key } = await readProvenOwner(repository, root, signers);
    return { signers: onlyOwner(signers, key), fault: null };
  } catch (error) {
    if (!isRefused(error)) throw error;
    const fault = { code: error.code, text: `the receipt branch's owner is not proved: ${error.message}` };
    return { signers: onlyOwner(signers, null), fault };
  }
}

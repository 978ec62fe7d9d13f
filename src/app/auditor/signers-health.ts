import { readHeartbeats } from '../../protocol/control/read-heartbeats.ts';
import type { ControlRepository } from '../../protocol/control/repository.ts';
import type { AuditSigners } from './audit-signers.ts';
import type { Audit, SignersHealth } from './model.ts';

export const NO_HEALTH: SignersHealth = { signers: [], ignored: [], differing: [] };

/**
 * What the heartbeats in a repository say about its signers. They have to be fetched before the branches: a signer that has
 * just accepted new requests would otherwise seem to have another history. If no list says who may sign receipts, only the
 * owner of the receipt branch may: `allowed` then lists builders, too.
 */
export async function readSignersHealth(
  repository: ControlRepository,
  { allowed, receiptSigners }: AuditSigners,
  { heads, receiptsBy }: Audit,
  now: Date,
): Promise<SignersHealth> {
  const { signers, problems } = await readHeartbeats(repository, receiptSigners ?? allowed, now);
  const isTrusted = (key: string): boolean => receiptSigners !== undefined || key === receiptsBy?.key;
  const trusted = signers.filter(({ key }) => isTrusted(key)).map(({ content }) => content);
  const others = signers.filter(({ key }) => !isTrusted(key));
  const differing: string[] = [];
  for (const { name, heads: accepted } of trusted)
    if (accepted.requests !== null && !(await isKnown(repository, accepted.requests, heads.requests)))
      differing.push(name);
  return {
    signers: trusted,
    ignored: [
      ...problems,
      ...others.map(({ content, key }) => ({
        name: content.signer,
        code: 'receipt-foreign-key',
        message: `it is signed by ${key}, which is not the key that the receipt branch belongs to`,
      })),
    ],
    differing,
  };
}

const isKnown = async (repository: ControlRepository, commit: string, tip: string | null): Promise<boolean> =>
  tip !== null && repository.isAncestor(commit, tip);

import { onlyOwner } from '../../protocol/control/receipts-owner.ts';
import { readHeartbeats } from '../../protocol/control/read-heartbeats.ts';
import type { ControlRepository } from '../../protocol/control/repository.ts';
import { foreignHeads } from '../overview/foreign-heads.ts';
import type { AuditSigners } from './audit-signers.ts';
import type { Audit, SignersHealth } from './model.ts';

export const NO_HEALTH: SignersHealth = { signers: [], ignored: [], differing: [] };

/**
 * What the heartbeats in a repository say about its signers. They have to be fetched before the branches. If no list says
 * who may sign receipts, only the owner of the receipt branch may: `allowed` then lists builders, too.
 */
export async function readSignersHealth(
  repository: ControlRepository,
  { allowed, receiptSigners }: AuditSigners,
  { heads, receiptsBy }: Audit,
  now: Date,
): Promise<SignersHealth> {
  const trusted = receiptSigners ?? onlyOwner(allowed, receiptsBy?.key ?? null);
  const { signers, problems } = await readHeartbeats(repository, trusted, now);
  const contents = signers.map(({ content }) => content);
  const foreign = await foreignHeads(repository, heads, contents);
  return {
    signers: contents,
    ignored: problems,
    differing: [...new Set(foreign.map(({ signer }) => signer))],
  };
}

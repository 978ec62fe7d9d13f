import type { ControlRepository, MainHeads } from '../../protocol/control/repository.ts';
import type { Heartbeat } from '../../protocol/control/signer-health.ts';

/** A head that a signer accepted and that the reader's history lacks. */
export interface ForeignHead {
  readonly signer: string;
  readonly branch: 'request' | 'receipt';
  readonly head: string;
}

const BRANCHES = [
  ['request', 'requests'],
  ['receipt', 'receipts'],
] as const;

/**
 * The heads that signers accepted, according to their heartbeats, and that are not in the history of the same branch here:
 * a host may show readers other requests than the signer, or keep receipts back.
 * The heartbeats have to be fetched before the branches: a signer that has just accepted new requests would otherwise
 * seem to have another history.
 */
export async function foreignHeads(
  repository: ControlRepository,
  here: MainHeads,
  signers: readonly Pick<Heartbeat, 'name' | 'heads'>[],
): Promise<ForeignHead[]> {
  const foreign: ForeignHead[] = [];
  for (const { name, heads } of signers)
    for (const [branch, of] of BRANCHES) {
      const [head, tip] = [heads[of], here[of]];
      if (head === null || (tip !== null && (await repository.isAncestor(head, tip)))) continue;
      foreign.push({ signer: name, branch, head });
    }
  return foreign;
}

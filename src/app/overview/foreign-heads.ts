import type { ControlRepository } from '../../protocol/control/repository.ts';
import type { Heartbeat } from '../../protocol/control/signer-health.ts';

/** A head that a signer accepted and that the reader's history lacks. */
export interface ForeignHead {
  readonly signer: string;
  readonly head: string;
}

/**
 * The heads of the request branch that signers accepted, according to their heartbeats, and that are not in the history of `tip`.
 * The heartbeats have to be fetched before the branches: a signer that has just accepted new requests would otherwise
 * seem to have another history.
 */
export async function foreignHeads(
  repository: ControlRepository,
  tip: string | null,
  signers: readonly Pick<Heartbeat, 'name' | 'heads'>[],
): Promise<ForeignHead[]> {
  const foreign: ForeignHead[] = [];
  for (const { name, heads } of signers) {
    const head = heads.requests;
    if (head === null) continue;
    if (tip === null || !(await repository.isAncestor(head, tip))) foreign.push({ signer: name, head });
  }
  return foreign;
}

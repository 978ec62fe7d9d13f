import type { Certificate } from './certificate.ts';
import { MAX_CHAIN_LENGTH } from './chain.ts';
import { isIssuedBy } from './issuance.ts';

/**
 * The leaf and the intermediates above it, in order, chosen by name and signature from `pool`. The root is left out,
 * since verifiers must have it already. The leaf is included even if it is self-signed.
 */
export function orderChain(leaf: Certificate, pool: readonly Certificate[]): Certificate[] {
  const chain = [leaf];
  let current = leaf;
  while (!current.isSelfIssued && chain.length < MAX_CHAIN_LENGTH) {
    const below = current;
    const above = pool.find(
      (candidate) => !candidate.isSelfIssued && !chain.includes(candidate) && isIssuedBy(below, candidate),
    );
    if (!above) break;
    chain.push(above);
    current = above;
  }
  return chain;
}

/**
 * The name of the leaf's issuer if its certificate is missing: the chain has no intermediate, and `pool` no root that
 * issued the leaf. Undefined otherwise. Authorities for code signing issue from intermediates, which a verifier does
 * not have unless the signature includes them.
 */
export function issuerMissing(
  chain: readonly Certificate[],
  pool: readonly Certificate[],
): string | undefined {
  const [leaf, ...above] = chain;
  if (!leaf || above.length > 0 || leaf.isSelfIssued) return undefined;
  return pool.some((candidate) => isIssuedBy(leaf, candidate)) ? undefined : leaf.issuer;
}

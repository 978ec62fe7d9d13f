import type { Certificate } from './certificate.ts';

/** No real chain is longer; a loop of cross-certificates ends here. */
const LONGEST_CHAIN = 10;

const issued = (issuer: Certificate, subject: Certificate): boolean =>
  issuer.subjectDer.equals(subject.issuerDer) && subject.x509.verify(issuer.publicKey);

/**
 * The leaf and the intermediates above it, in order, picked by name and signature from `pool`. The
 * root is left out: whoever verifies has it already, or must not take it from us. The leaf stays even
 * when it is self-signed.
 */
export function orderChain(leaf: Certificate, pool: readonly Certificate[]): Certificate[] {
  const chain = [leaf];
  let current = leaf;
  while (!current.isSelfIssued && chain.length < LONGEST_CHAIN) {
    const below = current;
    const above = pool.find(
      (candidate) => !candidate.isSelfIssued && !chain.includes(candidate) && issued(candidate, below),
    );
    if (!above) break;
    chain.push(above);
    current = above;
  }
  return chain;
}

/**
 * Who issued the leaf, if nothing given says more about it than the name: no intermediate was found for the chain, and
 * no root that issued the leaf itself. Undefined if the chain goes on. Authorities for code signing issue from
 * intermediates, which a verifier does not have unless they come with the signature.
 */
export function issuerMissing(
  chain: readonly Certificate[],
  pool: readonly Certificate[],
): string | undefined {
  const [leaf, ...above] = chain;
  if (!leaf || above.length > 0 || leaf.isSelfIssued) return undefined;
  return pool.some((candidate) => issued(candidate, leaf)) ? undefined : leaf.issuer;
}

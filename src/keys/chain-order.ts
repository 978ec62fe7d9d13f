import type { Certificate } from '../x509/certificate.ts';

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

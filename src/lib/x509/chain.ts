import type { SignpipeError } from '../errors.ts';
import type { Certificate } from './certificate.ts';
import { sameHolder, signatureHolds } from './issuance.ts';
import { chainProblem, pathProblem, purposeName, type PathRules } from './path-rules.ts';

/** The certificates and conditions for a chain. */
export interface ChainOptions extends PathRules {
  /** Possible certificates between the leaf and a root: untrusted, in any order. */
  readonly intermediates: readonly Certificate[];
  /** Trust anchors. A certificate is one if its bytes are equal, self-signed or not. */
  readonly roots: readonly Certificate[];
}

/** The most certificates in a chain, leaf and root included. */
export const MAX_CHAIN_LENGTH = 10;
/** The most untrusted certificates that are searched: far more than any signer includes. */
const MAX_INTERMEDIATES = 100;
/** The most signatures that are checked while searching, so that crossed certificates cannot cost hours. */
const MAX_SIGNATURE_CHECKS = 200;
/** The most complete paths that are checked. */
const MAX_PATHS = 50;

/**
 * Builds the chain from `leaf` up to one of `roots`, both included, by RFC 5280 section 6.1 as far as code signing
 * needs it. Names must be equal byte by byte. Purposes nest as Microsoft defines it: an authority with an extended
 * key usage must list the purpose too. Revocation is not checked. Name constraints are enforced, critical or not, the
 * root's included. No policy is required, so policies are ignored; an authority that constrains them is refused.
 *
 * Cross-signed authorities allow several paths; the first valid one is returned. If there is none, the error is that
 * of the first path that reached a root, else it describes how far the search came:
 *
 * | code                                     | meaning                                                       |
 * | ---------------------------------------- | ------------------------------------------------------------- |
 * | `certificate-chain-incomplete`           | the issuer of some certificate is missing                     |
 * | `certificate-chain-untrusted-root`       | the chain is complete, but its root is not among the given    |
 * | `certificate-chain-too-long`             | more than ten certificates, or too many to search             |
 * | `certificate-chain-signature`            | a certificate was not signed by the issuer that it names      |
 * | `certificate-chain-expired`              | expired at `at`                                               |
 * | `certificate-chain-not-yet-valid`        | not valid yet at `at`                                         |
 * | `certificate-chain-not-a-ca`             | an issuer may not issue                                       |
 * | `certificate-chain-path-length`          | more authorities below an issuer than it permits              |
 * | `certificate-chain-usage`                | the leaf lacks the purpose, or an authority excludes it       |
 * | `certificate-chain-critical-extension`   | a critical extension that is not supported                    |
 * | `certificate-chain-constraints`          | a name that an authority does not permit, or policy constraints |
 * | `certificate-chain-weak`                 | signed with MD5 or SHA-1, an RSA key below 2048 bits, or an EC key that is not on a named curve of 256 bits or more |
 */
export function buildChain(leaf: Certificate, options: ChainOptions): Certificate[] {
  const search = new Search(options);
  const paths = search.pathsFrom(leaf);
  let first: SignpipeError | undefined;
  for (const path of paths) {
    const problem = pathProblem(path, options);
    if (!problem) return path;
    first ??= problem;
  }
  throw first ?? search.whyNone(leaf);
}

/** Searches upwards by name and signature; whether a path is valid is not checked here. */
class Search {
  private readonly roots: ReadonlySet<string>;
  private readonly candidates: ReadonlyMap<string, readonly Certificate[]>;
  private readonly usage: string;
  private readonly checked = new Map<string, boolean>();
  private readonly tooMany: boolean;
  private exhausted = false;
  /** The ends of the paths that reached no root. */
  private readonly deadEnds: {
    certificate: Certificate;
    why: 'no-issuer' | 'self' | 'signature' | 'long';
  }[] = [];

  constructor({ intermediates, roots, usage }: ChainOptions) {
    this.roots = new Set(roots.map(({ sha256 }) => sha256));
    this.tooMany = intermediates.length > MAX_INTERMEDIATES;
    // Roots first: of two paths, the shorter one to a root is more likely to be valid.
    this.candidates = bySubject([...roots, ...intermediates.slice(0, MAX_INTERMEDIATES)]);
    this.usage = usage;
  }

  pathsFrom(leaf: Certificate): Certificate[][] {
    const paths: Certificate[][] = [];
    this.climb([leaf], paths);
    return paths;
  }

  private climb(path: readonly Certificate[], found: Certificate[][]): void {
    const top = path[path.length - 1];
    if (!top || found.length >= MAX_PATHS) return;
    if (this.roots.has(top.sha256)) {
      found.push([...path]);
      return;
    }
    const issuers = this.candidates.get(nameOf(top.issuerDer)) ?? [];
    const unusedIssuers = issuers.filter((issuer) => !path.some((below) => sameHolder(below, issuer)));
    if (unusedIssuers.length === 0)
      this.deadEnds.push({ certificate: top, why: top.isSelfIssued ? 'self' : 'no-issuer' });
    else if (path.length >= MAX_CHAIN_LENGTH) this.deadEnds.push({ certificate: top, why: 'long' });
    else this.climbThrough(unusedIssuers, path, top, found);
  }

  private climbThrough(
    issuers: readonly Certificate[],
    path: readonly Certificate[],
    top: Certificate,
    found: Certificate[][],
  ): void {
    const signers = issuers.filter((issuer) => this.signedBy(top, issuer));
    if (signers.length === 0) this.deadEnds.push({ certificate: top, why: 'signature' });
    for (const issuer of signers) this.climb([...path, issuer], found);
  }

  private signedBy(certificate: Certificate, issuer: Certificate): boolean {
    const pair = `${certificate.sha256} ${issuer.sha256}`;
    const known = this.checked.get(pair);
    if (known !== undefined) return known;
    if (this.checked.size >= MAX_SIGNATURE_CHECKS) {
      this.exhausted = true;
      return false;
    }
    const holds = signatureHolds(certificate, issuer);
    this.checked.set(pair, holds);
    return holds;
  }

  /** The error if no path reached a root. */
  whyNone(leaf: Certificate): SignpipeError {
    const end = (why: string): Certificate | undefined =>
      this.deadEnds.find((deadEnd) => deadEnd.why === why)?.certificate;
    if (this.exhausted || this.tooMany || end('long'))
      return chainProblem('too-long', leaf, 'has more certificates above it than are searched');
    const forged = end('signature');
    if (forged) return chainProblem('signature', forged, 'is not signed by the issuer that it names');
    const root = end('self');
    if (root)
      return chainProblem('untrusted-root', root, 'is the end of the chain and not among the trusted roots', {
        hint: 'give the authority that you trust as a root; a root inside the file proves nothing',
      });
    const top = end('no-issuer') ?? leaf;
    return chainProblem('incomplete', top, `was issued by ${top.issuer}, whose certificate is missing`, {
      hint: `give the certificate of that authority (for ${purposeName(this.usage)})`,
    });
  }
}

function bySubject(certificates: readonly Certificate[]): Map<string, Certificate[]> {
  const bySubjectName = new Map<string, Certificate[]>();
  const seen = new Set<string>();
  for (const certificate of certificates) {
    if (seen.has(certificate.sha256)) continue;
    seen.add(certificate.sha256);
    const name = nameOf(certificate.subjectDer);
    bySubjectName.set(name, [...(bySubjectName.get(name) ?? []), certificate]);
  }
  return bySubjectName;
}

const nameOf = (nameDer: Buffer): string => nameDer.toString('latin1');

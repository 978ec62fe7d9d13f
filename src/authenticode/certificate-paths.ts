import type { Certificate } from '../x509/certificate.ts';
import { signatureHolds } from '../x509/chain.ts';

/** How often one certificate may be there: Node's own node.exe carries its signer's twice. */
const MOST_COPIES = 2;
/** The longest certificate that is believed without its issuer's signature, in bytes. Authorities' have about 2,000. */
const LONGEST_TOP = 4096;
/** The most signatures that are checked for one set of certificates, so that a maze of them cannot cost seconds. */
const MOST_CHECKS = 64;
/** OpenSSL no longer verifies MD2, with which old roots signed themselves. */
const MD2_WITH_RSA = '1.2.840.113549.1.1.2';

/** A certificate without use in its signature, and why. */
export interface StrayCertificate {
  readonly certificate: Certificate;
  readonly why: string;
}

/**
 * Which of the certificates in a signature or token no signer has a use for. Anyone can add certificates to a
 * signed file, or replace one, so each has to be on a path from a signer upwards in which every certificate is
 * signed by the next one (names alone prove nothing), and to be there at most twice. Where a path ends, the
 * issuer is missing and the last certificate cannot be checked here: one such certificate is accepted for each
 * signer, if it is not unusually long. Whether a path leads to a trusted root is not decided here.
 */
export function strayCertificates(
  all: readonly Certificate[],
  signers: readonly Certificate[],
): StrayCertificate[] {
  const checks = { left: MOST_CHECKS };
  const paths = signers.map((signer) => pathsFrom(signer, all, checks));
  const proven = new Set(paths.flatMap(({ proven }) => proven.map(({ sha256 }) => sha256)));
  const refused = paths
    .flatMap(({ refused }) => refused)
    .filter((each) => !proven.has(each.certificate.sha256));
  const known = new Set([...proven, ...refused.map(({ certificate }) => certificate.sha256)]);
  const unrelated = distinct(all.filter(({ sha256 }) => !known.has(sha256)));
  return [
    ...refused,
    ...unrelated.map((certificate) => ({ certificate, why: 'no path from a signer leads to it' })),
    ...repeated(all).map((certificate) => ({ certificate, why: `is there more than ${MOST_COPIES} times` })),
  ];
}

interface Paths {
  readonly proven: readonly Certificate[];
  readonly refused: readonly StrayCertificate[];
}

/** Climbs from one signer through every issuer that is here. */
function pathsFrom(signer: Certificate, all: readonly Certificate[], checks: { left: number }): Paths {
  const reached = new Map([[signer.sha256, signer]]);
  const proven: Certificate[] = [];
  const unproven: Certificate[] = [];
  // A Map visits what is added to it meanwhile.
  for (const certificate of reached.values()) {
    const issuers = issuersOf(certificate, all, checks);
    (issuers.length > 0 ? proven : unproven).push(certificate);
    for (const issuer of issuers) reached.set(issuer.sha256, issuer);
  }
  const [top, ...others] = unproven;
  const why = top && topFault(top);
  if (top && !why) proven.push(top);
  return {
    proven,
    refused: [
      ...(top && why ? [{ certificate: top, why }] : []),
      ...others.map((certificate) => ({ certificate, why: 'its issuer did not sign it, or is not here' })),
    ],
  };
}

/** False if certificates that bear the issuer's name are here, and none of them signed this one. */
export function isSignedByIssuer(certificate: Certificate, all: readonly Certificate[]): boolean {
  const named = all.filter(({ subjectDer }) => subjectDer.equals(certificate.issuerDer));
  return named.length === 0 || issuersOf(certificate, named, { left: MOST_CHECKS }).length > 0;
}

function issuersOf(
  certificate: Certificate,
  all: readonly Certificate[],
  checks: { left: number },
): Certificate[] {
  const named = distinct(all.filter(({ subjectDer }) => subjectDer.equals(certificate.issuerDer)));
  return named.filter((issuer) => checks.left-- > 0 && signatureHolds(certificate, issuer));
}

function topFault(top: Certificate): string | null {
  if (top.isSelfIssued && top.signatureAlgorithm !== MD2_WITH_RSA)
    return 'it names itself as its issuer and is not signed with its own key';
  return top.raw.length > LONGEST_TOP
    ? `it has ${top.raw.length} bytes, and its issuer did not sign it or is not here`
    : null;
}

const distinct = (all: readonly Certificate[]): Certificate[] => [
  ...new Map(all.map((each) => [each.sha256, each])).values(),
];

const repeated = (all: readonly Certificate[]): Certificate[] =>
  distinct(all).filter((each) => all.filter((other) => other.equals(each)).length > MOST_COPIES);

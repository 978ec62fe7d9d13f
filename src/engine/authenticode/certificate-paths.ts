import type { Certificate } from '../../lib/x509/certificate.ts';
import { sameHolder, signatureHolds } from '../../lib/x509/issuance.ts';

/** How often one certificate may occur: Node's own node.exe carries its signer's twice. */
const MOST_COPIES = 2;
/** Signatures that are checked for one signer at most, so that a maze of certificates cannot cost seconds. */
const MOST_CHECKS = 64;
/**
 * Bytes of certificates that lead to no given root, if the signer's leads to one: a cross-certificate of that root
 * and the authority above it.
 */
const MOST_BESIDE = 4096;
/** If the signer's leads to no given root: bytes of one certificate (2,000 are usual), and of all on its paths. */
const LONGEST = 4096;
const MOST = 16 * 1024;
/** OpenSSL no longer verifies MD2, with which old roots signed themselves. */
const MD2_WITH_RSA = '1.2.840.113549.1.1.2';

/** The certificate of a signer, and the roots that its chain may end in; null if none were given. */
export interface AnchoredSigner {
  readonly certificate: Certificate;
  readonly anchors: readonly Certificate[] | null;
}

/** A certificate without use in its signature, and why. */
interface UselessCertificate {
  readonly certificate: Certificate;
  readonly why: string;
}

/**
 * Lists the certificates in a signature or token that no signer needs. Anyone can add certificates to a signed file,
 * or replace one. So each must be on a path from a signer upwards in which every certificate is signed by the next
 * one (names alone prove nothing), and occur at most twice.
 *
 * That bounds what an attacker can add below a root, not above it: an attacker can certify the key of any authority
 * in the path, as cross-certificates do. So if the signer's certificate leads to a given root, certificates that do
 * not are accepted up to 4 KiB in total, and only if they lead up from that root; otherwise up to 4 KiB each and
 * 16 KiB in total. At the end of a path the issuer is missing: one such certificate is accepted for each signer.
 */
export function certificatesWithoutUse(
  all: readonly Certificate[],
  signers: readonly AnchoredSigner[],
): UselessCertificate[] {
  const paths = signers.map((signer) => new Paths(signer, distinct(all)));
  const refused = paths.flatMap((each) => each.refused);
  const accepted = new Set(paths.flatMap((each) => each.accepted).map(({ sha256 }) => sha256));
  const judged = new Set([...accepted, ...refused.map(({ certificate }) => certificate.sha256)]);
  return [
    ...refused.filter(({ certificate }) => !accepted.has(certificate.sha256)),
    ...distinct(all)
      .filter(({ sha256 }) => !judged.has(sha256))
      .map((certificate) => ({ certificate, why: 'no path from a signer leads to it' })),
    ...repeated(all).map((certificate) => ({ certificate, why: `it occurs more than ${MOST_COPIES} times` })),
  ];
}

/** False if certificates with the issuer's name are in `all`, and none of them signed this one. */
export function isSignedByIssuer(certificate: Certificate, all: readonly Certificate[]): boolean {
  const issuers = all.filter((each) => each.subjectDer.equals(certificate.issuerDer));
  return (
    issuers.length === 0 || issuers.slice(0, MOST_CHECKS).some((each) => signatureHolds(certificate, each))
  );
}

/** Every certificate that is reached from one signer, through every issuer in the signature. */
class Paths {
  readonly refused: readonly UselessCertificate[];
  readonly accepted: readonly Certificate[];
  /** The issuers of each certificate, by its SHA-256. */
  private readonly issuers = new Map<string, readonly Certificate[]>();
  private readonly anchors: readonly Certificate[] | null;
  private readonly unrooted: readonly Certificate[];
  private checks = MOST_CHECKS;

  constructor({ certificate: signer, anchors }: AnchoredSigner, all: readonly Certificate[]) {
    const reached = this.climb(signer, all);
    const rooted = this.leadingTo(anchors ?? [], reached);
    // If the signer's certificate leads to no root, another check reports it, or no roots were given.
    this.anchors = rooted.has(signer.sha256) ? anchors : null;
    this.unrooted = reached.filter(({ sha256 }) => this.anchors === null || !rooted.has(sha256));
    this.refused = [...this.unfinished(), ...this.oversized()];
    const refused = new Set(this.refused.map(({ certificate }) => certificate.sha256));
    this.accepted = reached.filter(({ sha256 }) => !refused.has(sha256));
  }

  private climb(signer: Certificate, all: readonly Certificate[]): Certificate[] {
    const reached = new Map([[signer.sha256, signer]]);
    // A Map also visits what is added during the iteration.
    for (const each of reached.values()) {
      const issuers = this.issuersAmong(all, each);
      this.issuers.set(each.sha256, issuers);
      for (const issuer of issuers) reached.set(issuer.sha256, issuer);
    }
    return [...reached.values()];
  }

  private issuersAmong(some: readonly Certificate[], certificate: Certificate): Certificate[] {
    return some.filter(
      (each) =>
        each.subjectDer.equals(certificate.issuerDer) &&
        this.checks-- > 0 &&
        signatureHolds(certificate, each),
    );
  }

  /** The SHA-256 of those that are roots, or that a root signed, or an authority among them. */
  private leadingTo(anchors: readonly Certificate[], reached: readonly Certificate[]): Set<string> {
    const rooted = new Set(
      reached
        .filter(
          (each) =>
            anchors.some((anchor) => anchor.equals(each)) || this.issuersAmong(anchors, each).length > 0,
        )
        .map(({ sha256 }) => sha256),
    );
    // Downwards; a Set also visits what is added during the iteration.
    for (const issuer of rooted)
      for (const { sha256 } of reached)
        if (this.issuers.get(sha256)?.some((each) => each.sha256 === issuer)) rooted.add(sha256);
    return rooted;
  }

  /** Certificates at which a path ends without their issuer, except for the one that is accepted. */
  private unfinished(): UselessCertificate[] {
    return this.unrooted
      .filter(({ sha256 }) => this.issuers.get(sha256)?.length === 0)
      .flatMap((certificate, at) => {
        const why = at > 0 ? NO_ISSUER : this.topFault(certificate);
        return why === null ? [] : [{ certificate, why }];
      });
  }

  private topFault(top: Certificate): string | null {
    if (top.isSelfIssued && top.signatureAlgorithm !== MD2_WITH_RSA)
      return 'it names itself as its issuer and is not signed with its own key';
    return this.anchors && !this.anchors.some((anchor) => sameHolder(anchor, top)) ? NO_ISSUER : null;
  }

  private oversized(): UselessCertificate[] {
    const size = this.unrooted.reduce((sum, { raw }) => sum + raw.length, 0);
    const excess = size > (this.anchors ? MOST_BESIDE : MOST);
    return this.unrooted
      .filter(({ raw }) => excess || raw.length > LONGEST)
      .map((certificate) => ({
        certificate,
        why: `it leads to no root, and has ${certificate.raw.length} of ${size} bytes of such certificates`,
      }));
  }
}

const NO_ISSUER = 'its issuer did not sign it, or is missing';

const distinct = (all: readonly Certificate[]): Certificate[] => [
  ...new Map(all.map((each) => [each.sha256, each])).values(),
];

const repeated = (all: readonly Certificate[]): Certificate[] =>
  distinct(all).filter((each) => all.filter((other) => other.equals(each)).length > MOST_COPIES);

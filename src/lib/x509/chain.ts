import { OID } from '../asn1/oids.ts';
import { invalid, type SignpipeError } from '../errors.ts';
import type { Certificate, KeyUsage } from './certificate.ts';
import { keyWeakness } from './key-strength.ts';
import { nameConstraintViolation } from './name-constraints.ts';
import { isoDay } from '../iso-day.ts';

/** What a chain is built from and for. */
export interface ChainOptions {
  /** Certificates that may stand between the leaf and a root: untrusted, in any order. */
  readonly intermediates: readonly Certificate[];
  /** Trust anchors. A certificate is one when its bytes are equal, self-signed or not. */
  readonly roots: readonly Certificate[];
  /** When every certificate has to be valid. */
  readonly at: Date;
  /** The purpose that the leaf must have, and that no authority above it may exclude: `OID.codeSigning`, ... */
  readonly usage: string;
  /** Accepts certificates that are signed with SHA-1, never with anything weaker; false by default. */
  readonly sha1?: boolean;
}

/** The most certificates in a chain, leaf and root included. */
export const MAX_CHAIN_LENGTH = 10;
/** The most untrusted certificates that are looked at: far more than any signer ships. */
const MAX_INTERMEDIATES = 100;
/** The most signatures that are checked while searching, so that crossed certificates cannot cost hours. */
const MAX_SIGNATURE_CHECKS = 200;
/** The most complete paths that are judged. */
const MAX_PATHS = 50;

/**
 * The chain from `leaf` up to one of `roots`, both included, after RFC 5280 section 6.1 as far as
 * code signing needs it. Names must be equal byte by byte. Purposes nest the way Microsoft reads
 * them: an authority with an extended key usage must list the purpose too. Revocation is not looked
 * at. Name constraints are enforced, critical or not, the root's among them. No policy is required, so
 * policies are accepted as they are; an authority that constrains them is refused.
 *
 * Cross-signed authorities open several paths; the first that holds is taken. When none does, the
 * error tells about the first that reached a root, else how far the search came:
 *
 * | code                                     | meaning                                                       |
 * | ---------------------------------------- | ------------------------------------------------------------- |
 * | `certificate-chain-incomplete`           | the issuer of some certificate is not here                    |
 * | `certificate-chain-untrusted-root`       | the chain is whole and ends in a root that nobody trusts      |
 * | `certificate-chain-too-long`             | more than ten certificates, or too many to search             |
 * | `certificate-chain-signature`            | a certificate was not signed by the issuer that it names      |
 * | `certificate-chain-expired`              | expired at `at`                                               |
 * | `certificate-chain-not-yet-valid`        | not valid yet at `at`                                         |
 * | `certificate-chain-not-a-ca`             | an issuer may not issue                                       |
 * | `certificate-chain-path-length`          | more authorities below an issuer than it permits              |
 * | `certificate-chain-usage`                | the leaf lacks the purpose, or an authority excludes it       |
 * | `certificate-chain-critical-extension`   | a critical extension that we do not understand                |
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

/** Searches upwards by name and signature; whether a path is any good is not asked here. */
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
    // Roots first: of two ways up, the shorter one to what is trusted is the likelier to hold.
    this.candidates = bySubject([...roots, ...intermediates.slice(0, MAX_INTERMEDIATES)]);
    this.usage = usage;
  }

  pathsFrom(leaf: Certificate): Certificate[][] {
    const found: Certificate[][] = [];
    this.climb([leaf], found);
    return found;
  }

  private climb(path: readonly Certificate[], found: Certificate[][]): void {
    const top = path[path.length - 1];
    if (!top || found.length >= MAX_PATHS) return;
    if (this.roots.has(top.sha256)) {
      found.push([...path]);
      return;
    }
    const named = this.candidates.get(nameOf(top.issuerDer)) ?? [];
    const others = named.filter((issuer) => !path.some((below) => sameHolder(below, issuer)));
    if (others.length === 0)
      this.deadEnds.push({ certificate: top, why: top.isSelfIssued ? 'self' : 'no-issuer' });
    else if (path.length >= MAX_CHAIN_LENGTH) this.deadEnds.push({ certificate: top, why: 'long' });
    else this.climbThrough(others, path, top, found);
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

  /** The error when no path reached a root. */
  whyNone(leaf: Certificate): SignpipeError {
    const end = (why: string): Certificate | undefined =>
      this.deadEnds.find((deadEnd) => deadEnd.why === why)?.certificate;
    if (this.exhausted || this.tooMany || end('long'))
      return problem('too-long', leaf, 'has more certificates above it than are searched');
    const forged = end('signature');
    if (forged) return problem('signature', forged, 'is not signed by the issuer that it names');
    const root = end('self');
    if (root)
      return problem('untrusted-root', root, `is the end of the chain and not among the trusted roots`, {
        hint: 'give the authority that you trust as a root; one that a file brings along proves nothing',
      });
    const top = end('no-issuer') ?? leaf;
    return problem('incomplete', top, `was issued by ${top.issuer}, whose certificate is not here`, {
      hint: `give the certificate of that authority (for ${purposeName(this.usage)})`,
    });
  }
}

function bySubject(certificates: readonly Certificate[]): Map<string, Certificate[]> {
  const found = new Map<string, Certificate[]>();
  const seen = new Set<string>();
  for (const certificate of certificates) {
    if (seen.has(certificate.sha256)) continue;
    seen.add(certificate.sha256);
    const name = nameOf(certificate.subjectDer);
    found.set(name, [...(found.get(name) ?? []), certificate]);
  }
  return found;
}

const nameOf = (nameDer: Buffer): string => nameDer.toString('latin1');

/** The same authority under another certificate: a path through both would run in a circle. */
export const sameHolder = (one: Certificate, other: Certificate): boolean =>
  one.sha256 === other.sha256 ||
  (one.subjectDer.equals(other.subjectDer) && one.publicKeyDer.equals(other.publicKeyDer));

/** Pairs of certificates and issuers (SHA-256 of both) of which the one was found to have signed the other. */
const signed = new Set<string>();
const MOST_SIGNED = 1000;

/**
 * Whether `issuer`'s key signed `certificate`. Positive answers are cached: the same few pairs come with
 * every program.
 */
export function signatureHolds(certificate: Certificate, issuer: Certificate): boolean {
  const pair = `${certificate.sha256} ${issuer.sha256}`;
  if (signed.has(pair)) return true;
  const holds = verifies(certificate, issuer);
  if (holds && signed.size < MOST_SIGNED) signed.add(pair);
  return holds;
}

/** Whether a certificate names the issuer, and the issuer's key signed it. Nothing else of either is checked. */
export const isIssuedBy = (certificate: Certificate, issuer: Certificate): boolean =>
  certificate.issuerDer.equals(issuer.subjectDer) && signatureHolds(certificate, issuer);

function verifies(certificate: Certificate, issuer: Certificate): boolean {
  try {
    return certificate.x509.verify(issuer.publicKey);
  } catch {
    // A key of another kind than the signature: OpenSSL throws instead of saying no.
    return false;
  }
}

// --- judging a whole path ------------------------------------------------------------------

function pathProblem(path: readonly Certificate[], options: ChainOptions): SignpipeError | undefined {
  for (const [height, certificate] of path.entries()) {
    const isRoot = height === path.length - 1;
    const found =
      criticalExtensionProblem(certificate) ??
      weaknessProblem(certificate, isRoot, options.sha1 ?? false) ??
      constraintProblem(certificate, path.slice(0, height)) ??
      validityProblem(certificate, options.at) ??
      (height === 0
        ? leafProblem(certificate, options.usage)
        : authorityProblem(certificate, path.slice(1, height), isRoot, options.usage));
    if (found) return found;
  }
  return undefined;
}

function validityProblem(certificate: Certificate, at: Date): SignpipeError | undefined {
  if (at > certificate.notAfter)
    return problem('expired', certificate, `expired ${isoDay(certificate.notAfter)}, before ${isoDay(at)}`);
  if (at < certificate.notBefore)
    return problem(
      'not-yet-valid',
      certificate,
      `is valid from ${isoDay(certificate.notBefore)}, after ${isoDay(at)}`,
    );
  return undefined;
}

function leafProblem(leaf: Certificate, usage: string): SignpipeError | undefined {
  if (!leaf.extendedKeyUsage?.includes(usage))
    return problem('usage', leaf, `is not for ${purposeName(usage)} (extended key usage)`);
  // RFC 3161 section 2.3 leaves a time-stamping key either bit; code signing needs the first.
  const fit: KeyUsage[] =
    usage === OID.timeStamping ? ['digitalSignature', 'nonRepudiation'] : ['digitalSignature'];
  if (leaf.keyUsage && !fit.some((bit) => leaf.keyUsage?.has(bit)))
    return problem('usage', leaf, 'is not for signing (key usage)');
  return undefined;
}

function authorityProblem(
  authority: Certificate,
  below: readonly Certificate[],
  isRoot: boolean,
  usage: string,
): SignpipeError | undefined {
  // A root of X.509 version 1 has no way to say that it is one; being trusted is what makes it one.
  const old = isRoot && authority.extensions.size === 0;
  if (!authority.isCa && !old) return problem('not-a-ca', authority, 'is no certificate authority');
  if (authority.keyUsage && !authority.keyUsage.has('keyCertSign'))
    return problem('not-a-ca', authority, 'may not sign certificates (key usage)');
  const counted = below.filter((certificate) => !certificate.isSelfIssued).length;
  if (authority.pathLength !== null && counted > authority.pathLength)
    return problem(
      'path-length',
      authority,
      `permits ${authority.pathLength} authorities below it, there are ${counted}`,
    );
  const purposes = authority.extendedKeyUsage;
  if (purposes && !purposes.includes(usage) && !purposes.includes(OID.anyExtendedKeyUsage))
    return problem('usage', authority, `may not issue for ${purposeName(usage)} (extended key usage)`);
  return undefined;
}

/**
 * The extensions that may be critical: those that are enforced here, the alternative name, which
 * grants nothing, and policies, of which none is required.
 */
const UNDERSTOOD: ReadonlySet<string> = new Set<string>([
  OID.basicConstraints,
  OID.keyUsage,
  OID.extendedKeyUsage,
  OID.certificatePolicies,
  OID.nameConstraints,
  '2.5.29.17',
]);

/** policyConstraints and inhibitAnyPolicy (RFC 5280 sections 4.2.1.11, 4.2.1.14): refused, critical or not. */
const POLICY_CONSTRAINTS = ['2.5.29.36', '2.5.29.54'];

function constraintProblem(
  certificate: Certificate,
  below: readonly Certificate[],
): SignpipeError | undefined {
  if (POLICY_CONSTRAINTS.some((oid) => certificate.extensions.has(oid)))
    return problem('constraints', certificate, 'constrains policies, which is not supported');
  const violation = nameConstraintViolation(certificate, below);
  return violation === null ? undefined : problem('constraints', certificate, violation);
}

function criticalExtensionProblem(certificate: Certificate): SignpipeError | undefined {
  const unknown = [...certificate.extensions.values()].find(
    ({ oid, critical }) => critical && !UNDERSTOOD.has(oid),
  );
  return unknown && problem('critical-extension', certificate, `has the critical extension ${unknown.oid}`);
}

/** Signature algorithms whose digest can be collided: RFC 3279 and RFC 5758. */
const WEAK_SIGNATURES: ReadonlyMap<string, string> = new Map([
  ['1.2.840.113549.1.1.2', 'MD2'],
  ['1.2.840.113549.1.1.4', 'MD5'],
  [OID.sha1WithRsa, 'SHA-1'],
  ['1.3.14.3.2.29', 'SHA-1'],
  ['1.2.840.10040.4.3', 'SHA-1'],
  [OID.ecdsaWithSha1, 'SHA-1'],
]);

/** A root's own signature counts for nothing, so its digest is not looked at. */
function weaknessProblem(
  certificate: Certificate,
  isRoot: boolean,
  sha1: boolean,
): SignpipeError | undefined {
  const digest = isRoot ? undefined : WEAK_SIGNATURES.get(certificate.signatureAlgorithm);
  if (digest && !(sha1 && digest === 'SHA-1'))
    return problem('weak', certificate, `is signed with ${digest}`);
  const weakness = keyWeakness(certificate, isRoot);
  return weakness === null ? undefined : problem('weak', certificate, weakness);
}

const purposeName = (usage: string): string =>
  usage === OID.codeSigning ? 'code signing' : usage === OID.timeStamping ? 'time stamping' : usage;

const problem = (
  code: string,
  certificate: Certificate,
  what: string,
  details?: { hint: string },
): SignpipeError =>
  invalid(`certificate-chain-${code}`, `certificate ${certificate.subject}: ${what}`, details);

import { OID } from '../asn1/oids.ts';
import { invalid, type SignpipeError } from '../errors.ts';
import { isoDay } from '../iso-day.ts';
import type { Certificate } from './certificate.ts';
import type { KeyUsage } from './certificate-fields.ts';
import { keyWeakness } from './key-strength.ts';
import { nameConstraintViolation } from './name-constraints.ts';

/** The conditions for a path from a leaf to a root. */
export interface PathRules {
  /** The time at which every certificate must be valid. */
  readonly at: Date;
  /** The purpose that the leaf must have, and that no authority above it may exclude: `OID.codeSigning`, ... */
  readonly usage: string;
  /** Accepts certificates that are signed with SHA-1, never with anything weaker; false by default. */
  readonly sha1?: boolean;
}

/** Why a certificate breaks a rule; undefined if it does not. */
type Problem = SignpipeError | undefined;

/** The first rule that a path (leaf first, root last) breaks; undefined if it is valid. The codes: see `buildChain`. */
export function pathProblem(path: readonly Certificate[], options: PathRules): Problem {
  for (const [height, certificate] of path.entries()) {
    const isRoot = height === path.length - 1;
    const violation =
      criticalExtensionProblem(certificate) ??
      weaknessProblem(certificate, isRoot, options.sha1 ?? false) ??
      constraintProblem(certificate, path.slice(0, height)) ??
      validityProblem(certificate, options.at) ??
      (height === 0
        ? leafProblem(certificate, options.usage)
        : authorityProblem(certificate, path.slice(1, height), isRoot, options.usage));
    if (violation) return violation;
  }
  return undefined;
}

function validityProblem(certificate: Certificate, at: Date): Problem {
  const [from, until, now] = [certificate.notBefore, certificate.notAfter, at].map(isoDay);
  if (at > certificate.notAfter)
    return chainProblem('expired', certificate, `expired ${until}, before ${now}`);
  if (at < certificate.notBefore)
    return chainProblem('not-yet-valid', certificate, `is valid from ${from}, after ${now}`);
  return undefined;
}

function leafProblem(leaf: Certificate, usage: string): Problem {
  if (!leaf.extendedKeyUsage?.includes(usage))
    return chainProblem('usage', leaf, `is not for ${purposeName(usage)} (extended key usage)`);
  // RFC 3161 section 2.3 permits either bit for a time-stamping key; code signing needs the first.
  const fit: KeyUsage[] =
    usage === OID.timeStamping ? ['digitalSignature', 'nonRepudiation'] : ['digitalSignature'];
  if (leaf.keyUsage && !fit.some((bit) => leaf.keyUsage?.has(bit)))
    return chainProblem('usage', leaf, 'is not for signing (key usage)');
  return undefined;
}

function authorityProblem(
  authority: Certificate,
  below: readonly Certificate[],
  isRoot: boolean,
  usage: string,
): Problem {
  // A certificate of X.509 version 1 cannot state that it is an authority; a root is one because it is trusted.
  const old = isRoot && authority.extensions.size === 0;
  if (!authority.isCa && !old) return chainProblem('not-a-ca', authority, 'is not a certificate authority');
  if (authority.keyUsage && !authority.keyUsage.has('keyCertSign'))
    return chainProblem('not-a-ca', authority, 'may not sign certificates (key usage)');
  const counted = below.filter((certificate) => !certificate.isSelfIssued).length;
  if (authority.pathLength !== null && counted > authority.pathLength)
    return chainProblem(
      'path-length',
      authority,
      `permits ${authority.pathLength} authorities below it, there are ${counted}`,
    );
  const purposes = authority.extendedKeyUsage;
  if (purposes && !purposes.includes(usage) && !purposes.includes(OID.anyExtendedKeyUsage))
    return chainProblem('usage', authority, `may not issue for ${purposeName(usage)} (extended key usage)`);
  return undefined;
}

/**
 * Extensions that may be critical: those enforced here, the alternative name, which grants nothing, and policies, none
 * of which is required.
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

function constraintProblem(certificate: Certificate, below: readonly Certificate[]): Problem {
  if (POLICY_CONSTRAINTS.some((oid) => certificate.extensions.has(oid)))
    return chainProblem('constraints', certificate, 'constrains policies, which is not supported');
  const violation = nameConstraintViolation(certificate, below);
  return violation === null ? undefined : chainProblem('constraints', certificate, violation);
}

function criticalExtensionProblem(certificate: Certificate): Problem {
  const unknown = [...certificate.extensions.values()].find(
    ({ oid, critical }) => critical && !UNDERSTOOD.has(oid),
  );
  return (
    unknown && chainProblem('critical-extension', certificate, `has the critical extension ${unknown.oid}`)
  );
}

/** Signature algorithms for whose digest collisions can be made: RFC 3279 and RFC 5758. */
const WEAK_SIGNATURES: ReadonlyMap<string, string> = new Map([
  ['1.2.840.113549.1.1.2', 'MD2'],
  ['1.2.840.113549.1.1.4', 'MD5'],
  [OID.sha1WithRsa, 'SHA-1'],
  ['1.3.14.3.2.29', 'SHA-1'],
  ['1.2.840.10040.4.3', 'SHA-1'],
  [OID.ecdsaWithSha1, 'SHA-1'],
]);

/** A root's own signature proves nothing, so its digest does not matter. */
function weaknessProblem(certificate: Certificate, isRoot: boolean, sha1: boolean): Problem {
  const digest = isRoot ? undefined : WEAK_SIGNATURES.get(certificate.signatureAlgorithm);
  if (digest && !(sha1 && digest === 'SHA-1'))
    return chainProblem('weak', certificate, `is signed with ${digest}`);
  const weakness = keyWeakness(certificate, isRoot);
  return weakness === null ? undefined : chainProblem('weak', certificate, weakness);
}

/** The name of a purpose in messages. */
export const purposeName = (usage: string): string =>
  usage === OID.codeSigning ? 'code signing' : usage === OID.timeStamping ? 'time stamping' : usage;

/** A `certificate-chain-…` error about one certificate. */
export const chainProblem = (
  code: string,
  certificate: Certificate,
  what: string,
  details?: { hint: string },
): SignpipeError =>
  invalid(`certificate-chain-${code}`, `certificate ${certificate.subject}: ${what}`, details);

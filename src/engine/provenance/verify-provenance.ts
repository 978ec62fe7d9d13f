import { isDeepStrictEqual } from 'node:util';
import { invalid, isRefused } from '../../lib/errors.ts';
import { sha256OfSource } from '../../lib/bytes/hash.ts';
import { withFile } from '../../lib/bytes/byte-source.ts';
import { printable } from '../../lib/printable.ts';
import { isSameIdentity } from '../../lib/x509/certificate-identity.ts';
import type { AllowedSigners } from '../../lib/sshsig/allowed-signers.ts';
import type { SignatureReport } from '../authenticode/report.ts';
import type { FileReport } from '../artifact/verify-file.ts';
import type { ProgramReport } from '../artifact/verify-program.ts';
import { placeKey, shownPlace } from '../artifact/inside/place.ts';
import type { VerifyFileOptions } from '../artifact/inside/verify-inside.ts';
import { readEnvelopes } from './read-provenance.ts';
import { restorablePrograms } from './restore-unsigned.ts';
import type { AttestedProgram, SigningPredicate, SigningStatement } from './signing-statement.ts';
import { statementDiffers } from './statement-differs.ts';
import { trustedStatements, type Trusted, type TrustedStatements } from './trusted-statements.ts';
import type { SummaryStatement } from './verification-summary.ts';

/** A file's provenance, verified: an allowed key signed it for these bytes, and the file does not contradict it. */
export interface VerifiedProvenance {
  readonly signing: Trusted<SigningStatement>;
  /** The verification summary of the same file, if there is one. */
  readonly summary: Trusted<SummaryStatement> | null;
  /** The places (as `placeKey`) of the programs whose unsigned bytes the file itself proves; see `restorablePrograms`. */
  readonly restored: readonly string[];
  readonly ignored: TrustedStatements['ignored'];
}

const isAbout = ({ statement }: Trusted<SigningStatement | SummaryStatement>, sha256: string): boolean =>
  statement.subject.some(({ digest }) => digest.sha256 === sha256);

/** The signing statements about a file; throws why there is none. */
function statementsAbout(
  { signing, ignored }: TrustedStatements,
  sha256: string,
  { path, provenance }: { readonly path: string; readonly provenance: string },
): Trusted<SigningStatement>[] {
  const about = signing.filter((each) => isAbout(each, sha256));
  if (about.length > 0) return about;
  const [other] = signing;
  if (other) {
    const [subject] = other.statement.subject;
    throw invalid(
      'provenance-other-file',
      `${provenance} is about ${printable(subject?.name ?? 'a file', 300)} with SHA-256 ${subject?.digest.sha256 ?? '(none)'}; ${path} has ${sha256}`,
      { hint: 'take file and provenance from the same request; a file that was changed has none' },
    );
  }
  const [first] = ignored;
  if (first) throw first.error.reworded((text) => text.replace(/^line/, `${provenance}: line`));
  throw invalid('provenance-missing', `${provenance} does not say how a file was signed`, {
    hint: 'signpipe writes NAME.intoto.jsonl beside a file if signer.yaml has provenance: true',
  });
}

/** Whether a signature is by the certificate that provenance names, or by another one of the same identity. */
function isBySigner(
  { signer, identity: own }: SignatureReport,
  { certificate: issued }: AttestedProgram,
  { certificate, identity }: SigningPredicate,
): boolean {
  if (!signer || !own || !certificate || !identity) return false;
  if (issued !== undefined && issued !== signer.sha256) return false;
  if (signer.subject !== certificate.subject || !isSameIdentity(own, identity)) return false;
  return signer.sha256 !== certificate.sha256 || isDeepStrictEqual(signer, certificate);
}

/** Whether a signature has the timestamp that provenance names: a later one would have changed the file. */
const isStampedSo = ({ timestamp }: SignatureReport, { timestamp: stated }: AttestedProgram): boolean =>
  timestamp?.time === stated?.time && timestamp?.authority === stated?.authority;

/** Checks what provenance says of one program against its signatures. */
function checkProgram(
  attested: AttestedProgram,
  predicate: SigningPredicate,
  program: ProgramReport | undefined,
): void {
  const { path, signed } = attested;
  const name = path === '' ? (program?.path ?? 'the file') : printable(shownPlace(attested), 300);
  if (!program)
    throw statementDiffers(`${name}: provenance says that it was signed, and the file has no such program`);
  const signatures = program.signatures.filter(
    ({ digest, digestAlgorithm }) => digest === signed.digest && digestAlgorithm === signed.algorithm,
  );
  if (signatures.length === 0)
    throw statementDiffers(
      `${name}: none of its signatures states the digest ${signed.digest} that provenance names`,
    );
  const byThem = signatures.filter((signature) => isBySigner(signature, attested, predicate));
  if (byThem.length === 0)
    throw statementDiffers(
      `${name}: it is not signed by ${printable(predicate.certificate?.subject ?? '(nothing)', 300)}, which provenance names`,
    );
  if (!byThem.some((signature) => isStampedSo(signature, attested)))
    throw statementDiffers(`${name}: its signature has another timestamp than provenance names`);
}

/** Checks what provenance says of a file against the report on the file, its size and its SHA-256. */
function checkFile(
  predicate: SigningPredicate,
  report: FileReport,
  { size, sha256 }: { readonly size: number; readonly sha256: string },
): void {
  const { input, output } = predicate;
  if (output.size !== size)
    throw statementDiffers(`${report.path}: has ${size} bytes, and provenance says ${output.size}`);
  const isUnchanged = input.size === size && input.digest.sha256 === sha256;
  if (isUnchanged !== (predicate.programs.length === 0))
    throw statementDiffers(
      `${report.path}: provenance says that ${isUnchanged ? 'programs were signed in it, and that it did not change' : 'nothing in it was signed, and that it changed'}`,
    );
  const { kind, programs } = report;
  // A program that is not in a zip has the file's name in its report, and comes first.
  const reports = new Map(
    programs.map((program, index) => [kind !== 'zip' && index === 0 ? '' : placeKey(program), program]),
  );
  for (const program of predicate.programs) checkProgram(program, predicate, reports.get(placeKey(program)));
}

const signedAt = ({ statement }: Trusted<SigningStatement>): number =>
  Date.parse(statement.predicate.times.signed);

/** A text that two statements share only if they say the same. */
const textOf = ({ statement }: Trusted<SigningStatement>): string => JSON.stringify(statement);

/**
 * In an order that does not depend on that of the lines, which anyone can change: the oldest first. Several requests
 * can lead to the same bytes, of a file that cannot be signed for example.
 */
const inOrder = (statements: readonly Trusted<SigningStatement>[]): Trusted<SigningStatement>[] =>
  statements.toSorted((a, b) => signedAt(a) - signedAt(b) || (textOf(a) < textOf(b) ? -1 : 1));

/** The first statement that the file does not contradict; throws what contradicts the first one. */
function firstSound(
  statements: readonly Trusted<SigningStatement>[],
  report: FileReport,
  contents: { readonly size: number; readonly sha256: string },
): Trusted<SigningStatement> {
  let first: unknown;
  for (const signing of inOrder(statements))
    try {
      checkFile(signing.statement.predicate, report, contents);
      return signing;
    } catch (error) {
      if (!isRefused(error)) throw error;
      first ??= error;
    }
  throw first;
}

/**
 * Whether a summary belongs to a statement: the same key made both for the same request, with the same vouches.
 * Another request for the same bytes may have been judged otherwise.
 */
function isSummaryOf(
  summary: Trusted<SummaryStatement>,
  { key, statement }: Trusted<SigningStatement>,
): boolean {
  const { request, vouches, times } = statement.predicate;
  const { inputAttestations = [], timeVerified } = summary.statement.predicate;
  const commits = inputAttestations.map(({ digest }) => digest.gitCommit);
  return (
    summary.key === key &&
    timeVerified === times.signed &&
    isDeepStrictEqual(commits, [request.id, ...vouches.map(({ commit }) => commit)])
  );
}

/**
 * Verifies the provenance of the file that a report describes: an envelope signed by an allowed key, about the very bytes
 * of the file, whose statement the file's own signatures do not contradict. Throws `provenance-…` and `dsse-malformed`.
 */
export function verifyProvenance(
  provenance: string,
  allowed: AllowedSigners,
  report: FileReport,
  options: Pick<VerifyFileOptions, 'limits' | 'scratch'>,
): Promise<VerifiedProvenance> {
  return withFile(report.path, async (source) => {
    const found = trustedStatements(await readEnvelopes(provenance), allowed);
    const sha256 = await sha256OfSource(source);
    const about = statementsAbout(found, sha256, { path: report.path, provenance });
    const signing = firstSound(about, report, { size: source.size, sha256 });
    const { programs } = signing.statement.predicate;
    return {
      signing,
      summary: found.summaries.find((each) => isAbout(each, sha256) && isSummaryOf(each, signing)) ?? null,
      restored: [...(await restorablePrograms(source, programs, options))],
      ignored: found.ignored,
    };
  });
}

import { invalid, isRefused, type SignpipeError } from '../../lib/errors.ts';
import { sha256OfSource } from '../../lib/bytes/hash.ts';
import { withFile } from '../../lib/bytes/byte-source.ts';
import { printable } from '../../lib/printable.ts';
import type { AllowedSigners } from '../../lib/sshsig/allowed-signers.ts';
import type { SignatureReport } from '../authenticode/report.ts';
import type { FileReport } from '../artifact/verify-file.ts';
import type { ProgramReport } from '../artifact/verify-program.ts';
import type { VerifyFileOptions } from '../artifact/verify-zip.ts';
import { readEnvelopes } from './read-provenance.ts';
import { restorablePrograms } from './restore-unsigned.ts';
import type { AttestedProgram, SigningPredicate, SigningStatement } from './signing-statement.ts';
import { trustedStatements, type Trusted, type TrustedStatements } from './trusted-statements.ts';
import type { SummaryStatement } from './verification-summary.ts';

/** A file's provenance, verified: an allowed key states it of these bytes, and the file shows nothing else. */
export interface VerifiedProvenance {
  readonly signing: Trusted<SigningStatement>;
  /** The verification summary of the same file, if there is one. */
  readonly summary: Trusted<SummaryStatement> | null;
  /** The paths of the programs whose unsigned bytes the file itself proves; see `restorablePrograms`. */
  readonly restored: readonly string[];
  readonly ignored: TrustedStatements['ignored'];
}

/** A file whose provenance is to be verified, and what is known about it. */
export interface FileWithReport {
  readonly path: string;
  readonly report: FileReport;
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
  { signer }: SignatureReport,
  { certificate: own }: AttestedProgram,
  { certificate, identity }: SigningPredicate,
): boolean {
  if (!signer || !certificate || !identity) return false;
  if (own !== undefined && own !== signer.sha256) return false;
  if (signer.sha256 === certificate.sha256) return true;
  if (signer.subject !== certificate.subject) return false;
  return 'eku' in identity || signer.issuer === identity.issuer;
}

const differs = (message: string): SignpipeError =>
  invalid('provenance-differs', message, {
    hint: 'the receipt key signed a statement that its own file contradicts: ask the operator of the signer',
  });

/** Checks what provenance says of one program against its signatures. */
function checkProgram(
  attested: AttestedProgram,
  predicate: SigningPredicate,
  program: ProgramReport | undefined,
): void {
  const { path, signed } = attested;
  const name = path === '' ? (program?.path ?? 'the file') : printable(path, 300);
  if (!program)
    throw differs(`${name}: provenance says that it was signed, and the file has no such program`);
  const signatures = program.signatures.filter(
    ({ digest, digestAlgorithm }) => digest === signed.digest && digestAlgorithm === signed.algorithm,
  );
  if (signatures.length === 0)
    throw differs(`${name}: none of its signatures states the digest ${signed.digest} that provenance names`);
  if (!signatures.some((signature) => isBySigner(signature, attested, predicate)))
    throw differs(
      `${name}: it is not signed by ${printable(predicate.certificate?.subject ?? '(nothing)', 300)}, whom provenance names`,
    );
}

/** Checks what provenance says of a file against the file. */
function checkFile(predicate: SigningPredicate, file: FileWithReport, size: number): void {
  if (predicate.output.size !== size)
    throw differs(`${file.path}: has ${size} bytes, and provenance says ${predicate.output.size}`);
  const { kind, programs } = file.report;
  const byPath = new Map(programs.map((program) => [kind === 'zip' ? program.path : '', program]));
  for (const program of predicate.programs) checkProgram(program, predicate, byPath.get(program.path));
}

/** The first statement that the file does not contradict; throws what contradicts the first one. */
function firstSound(
  statements: readonly Trusted<SigningStatement>[],
  file: FileWithReport,
  size: number,
): Trusted<SigningStatement> {
  let first: unknown;
  for (const signing of statements)
    try {
      checkFile(signing.statement.predicate, file, size);
      return signing;
    } catch (error) {
      if (!isRefused(error)) throw error;
      first ??= error;
    }
  throw first;
}

/**
 * Verifies the provenance of a file: an envelope signed by an allowed key, about the very bytes of the file, whose
 * statement the file's own signatures do not contradict. Throws `provenance-…` and `dsse-malformed`.
 */
export function verifyProvenance(
  provenance: string,
  allowed: AllowedSigners,
  file: FileWithReport,
  options: Pick<VerifyFileOptions, 'limits' | 'scratch'>,
): Promise<VerifiedProvenance> {
  return withFile(file.path, async (source) => {
    const found = trustedStatements(await readEnvelopes(provenance), allowed);
    const sha256 = await sha256OfSource(source);
    const about = statementsAbout(found, sha256, { path: file.path, provenance });
    const signing = firstSound(about, file, source.size);
    const { programs } = signing.statement.predicate;
    return {
      signing,
      summary: found.summaries.find((each) => isAbout(each, sha256)) ?? null,
      restored: [...(await restorablePrograms(source, programs, options))],
      ignored: found.ignored,
    };
  });
}

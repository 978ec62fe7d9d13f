import { SignpipeError } from '../errors.ts';
import { opened, sourceOf, type Openable } from './image.ts';
import type { SignableImage } from './signable.ts';
import type { Problem, SignatureReport, VerifyReport, VerifyStatus } from './report.ts';
import { readSignature } from './signature.ts';
import { verifySignature, type VerifyOptions } from './verify-signature.ts';

export type { VerifyOptions } from './verify-signature.ts';
export type { VerifyReport } from './report.ts';

/**
 * Verifies every Authenticode signature in a program: the file, each signature's bytes, its signer's
 * certificate and its timestamp, as a checklist of named steps (`verify-signature.ts`), and that the
 * certificate table holds nothing besides. The file is read once for each digest algorithm that its
 * signatures use.
 *
 * A broken program or signature is a report (`status: 'bad'`), not an error; throws `not-signable`
 * for what is no program at all, and errors of reading. What the statuses mean: `report.ts`.
 */
export async function verifyProgram(file: Openable, options: VerifyOptions = {}): Promise<VerifyReport> {
  const report = (
    status: VerifyStatus,
    signatures: readonly SignatureReport[] = [],
    problems: readonly Problem[] = [],
  ): VerifyReport => ({ path: sourceOf(file).name, status, signatures, problems });

  const image = await openOrProblem(file);
  if (!('source' in image)) return report('bad', [], [image]);
  if (!image.signature) return report('unsigned');
  const signatures = await verifySignatures(image, image.signature, options);
  const problems = [...image.tableSlack, ...signatures.flatMap(problemsOf), ...weakness(signatures, options)];
  return report(statusOf(signatures, problems), signatures, problems);
}

/** Headers or a certificate table that cannot be read make a bad program; what is no program is the caller's mistake. */
async function openOrProblem(file: Openable): Promise<SignableImage | Problem> {
  try {
    return await opened(file);
  } catch (error) {
    if (!(error instanceof SignpipeError) || error.kind !== 'invalid' || error.code === 'not-signable')
      throw error;
    return { code: error.code, message: error.message };
  }
}

/** The primary signature and those nested in it, one after another. */
async function verifySignatures(
  image: SignableImage,
  primary: Buffer,
  options: VerifyOptions,
): Promise<SignatureReport[]> {
  const reports: SignatureReport[] = [];
  for (const [index, der] of [primary, ...nestedIn(primary)].entries())
    reports.push(await verifySignature(der, index, image, options));
  return reports;
}

/** None when the primary signature cannot be read, which its own report says. */
function nestedIn(primary: Buffer): readonly Buffer[] {
  try {
    return readSignature(primary, 'signature').nested;
  } catch {
    return [];
  }
}

const problemsOf = ({ index, checks }: SignatureReport): Problem[] =>
  checks
    .filter(({ ok }) => ok === false)
    .map(({ code, detail }) => ({ code: code ?? 'unknown', message: detail, signature: index }));

const isWeak = ({ checks }: SignatureReport): boolean =>
  checks.some(({ name, ok }) => name === 'digest-strength' && ok !== true);

/** A SHA-1 signature beside a better one is for old systems; alone, no root can make it trustworthy. */
function weakness(signatures: readonly SignatureReport[], { roots }: VerifyOptions): Problem[] {
  if (!roots || !signatures.every(isWeak)) return [];
  return [{ code: 'digest-weak', message: 'signed with SHA-1 only, which proves nothing any more' }];
}

function statusOf(signatures: readonly SignatureReport[], problems: readonly Problem[]): VerifyStatus {
  if (problems.length > 0) return 'bad';
  const vouched = signatures.some(({ trusted }) => trusted === true);
  return vouched && signatures.every((each) => each.trusted === true || isWeak(each)) ? 'ok' : 'intact';
}

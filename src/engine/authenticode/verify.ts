import type { SignableFile } from '../formats/signable-file.ts';
import type { SignaturePlace, SignatureScheme } from '../formats/signature-scheme.ts';
import type { SignatureReport, VerifyProblem, VerifyReport, VerifyStatus } from './report.ts';
import { schemeOf } from './scheme-of.ts';
import { verifySignature, type VerifyOptions } from './verify-signature.ts';

export type { VerifyOptions } from './verify-signature.ts';
export type { VerifyReport } from './report.ts';

/**
 * Verifies every signature in a file: the file, each signature's bytes, its signer's certificate and
 * its timestamp, in named steps (`verify-signature.ts`), and that the file holds no unauthenticated data. The file
 * is read once for each digest algorithm that its signatures use.
 *
 * If roots are given, every signature has to lead to them, whatever its digest: one by a stranger is never ignored.
 * SHA-1 is then accepted in a signature, its chain and its timestamp only beside another signature in
 * the same file that is good in all respects without it. Without roots only integrity is checked.
 *
 * A broken signature is a report (`status: 'bad'`), not an error; throws errors of reading. What the statuses mean:
 * `report.ts`.
 */
export async function verifySignableFile(
  file: SignableFile,
  options: VerifyOptions = {},
): Promise<VerifyReport> {
  const { source, signatures, unauthenticatedData } = file;
  if (signatures.length === 0) return { path: source.name, status: 'unsigned', signatures: [], problems: [] };
  const reports = await verifySignatures(file, options);
  const problems: VerifyProblem[] = [...unauthenticatedData, ...reports.flatMap(problemsOf)];
  if (problems.length === 0) problems.push(...((await file.uncoveredFields?.()) ?? []));
  return { path: source.name, status: statusOf(reports, problems), signatures: reports, problems };
}

interface PlacedSignature extends SignaturePlace {
  readonly der: Buffer;
}

/** Every signature of a file, in the order of its report: those side by side, each followed by those nested in it. */
export function signaturesOf(file: SignableFile): PlacedSignature[] {
  const scheme = schemeOf(file);
  return file.signatures
    .flatMap((der) => [
      { der, nested: false },
      ...nestedIn(der, scheme).map((inner) => ({ der: inner, nested: true })),
    ])
    .map((each, index) => ({ ...each, index }));
}

/** Empty if the outer signature cannot be read, which its own report shows. */
function nestedIn(outer: Buffer, scheme: SignatureScheme): readonly Buffer[] {
  try {
    return scheme.read(outer, 'signature').nested;
  } catch {
    return [];
  }
}

/**
 * Verifies each signature without SHA-1 first. If one is good, those that are not are verified again with SHA-1
 * accepted. Without roots only the file's integrity against others than its signer is checked, for which a digest
 * with collisions still suffices.
 */
async function verifySignatures(file: SignableFile, options: VerifyOptions): Promise<SignatureReport[]> {
  const all = signaturesOf(file);
  const verifyEach = async (some: readonly PlacedSignature[], sha1: boolean): Promise<SignatureReport[]> => {
    const reports: SignatureReport[] = [];
    for (const each of some) reports.push(await verifySignature(each.der, each, file, { ...options, sha1 }));
    return reports;
  };
  if (!options.roots) return verifyEach(all, true);
  const strict = await verifyEach(all, false);
  if (!strict.some(isGood)) return strict;
  const again = await verifyEach(
    all.filter(({ index }) => strict.some((report) => report.index === index && !isGood(report))),
    true,
  );
  return strict.map((report) => again.find(({ index }) => index === report.index) ?? report);
}

const isGood = ({ trusted }: SignatureReport): boolean => trusted === true;

const problemsOf = ({ index, checks }: SignatureReport): VerifyProblem[] =>
  checks
    .filter(({ ok }) => ok === false)
    .map(({ code, detail }) => ({ code: code ?? 'unknown', message: detail, signature: index }));

function statusOf(signatures: readonly SignatureReport[], problems: readonly VerifyProblem[]): VerifyStatus {
  if (problems.length > 0) return 'bad';
  return signatures.every(isGood) ? 'ok' : 'intact';
}

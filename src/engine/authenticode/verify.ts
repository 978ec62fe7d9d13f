import { SignpipeError } from '../../lib/errors.ts';
import { opened, sourceOf, type Openable } from '../formats/open-file.ts';
import { isExplained, type SignableImage } from '../formats/signable-file.ts';
import type { Problem, SignatureReport, VerifyReport, VerifyStatus } from './report.ts';
import { readSignature } from './signature.ts';
import { verifySignature, type Place, type VerifyOptions } from './verify-signature.ts';

export type { VerifyOptions } from './verify-signature.ts';
export type { VerifyReport } from './report.ts';

/**
 * Verifies every Authenticode signature in a program: the file, each signature's bytes, its signer's
 * certificate and its timestamp, as a checklist of named steps (`verify-signature.ts`), that the
 * certificate table holds nothing besides, and that CheckSum holds no message. The file is read once for each
 * digest algorithm that its signatures use.
 *
 * If roots are given, every signature has to lead to them, whatever its digest: a stranger's is never passed over.
 * SHA-1 is then accepted in a signature, its chain and its timestamp only beside another signature in
 * the same file that is good in all respects without it. Without roots this asks for integrity only.
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
  const signatures = await verifySignatures(image, options);
  const found = [...image.tableSlack, ...signatures.flatMap(problemsOf)];
  // Asked last: in a changed file it is wrong as well, and that was said.
  const problems = found.length > 0 ? found : await checksumProblems(image);
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

async function checksumProblems(image: SignableImage): Promise<Problem[]> {
  const checksum = await image.checksum();
  if (!checksum || isExplained(checksum)) return [];
  const message = `${image.source.name}: its CheckSum field, which no signature covers, holds ${hex(checksum.stored)}, and its checksum is ${hex(checksum.computed)}`;
  return [{ code: 'checksum-differs', message }];
}

const hex = (value: number): string => `0x${value.toString(16)}`;

export interface PlacedSignature extends Place {
  readonly der: Buffer;
}

/** Every signature of a program, in the order of its report: those side by side, each followed by those nested in it. */
export function signaturesOf({ signatures }: SignableImage): PlacedSignature[] {
  return signatures
    .flatMap((der) => [
      { der, nested: false },
      ...nestedIn(der).map((inner) => ({ der: inner, nested: true })),
    ])
    .map((each, index) => ({ ...each, index }));
}

/** None if the outer signature cannot be read, which its own report says. */
function nestedIn(outer: Buffer): readonly Buffer[] {
  try {
    return readSignature(outer, 'signature').nested;
  } catch {
    return [];
  }
}

/**
 * Each signature without SHA-1 first. Beside one that is good like that, those that are not get a second try
 * with SHA-1. Without roots there is nothing to protect but the file's integrity against others than its signer,
 * which a digest with collisions still does.
 */
async function verifySignatures(image: SignableImage, options: VerifyOptions): Promise<SignatureReport[]> {
  const all = signaturesOf(image);
  const verifyEach = (some: readonly PlacedSignature[], sha1: boolean): Promise<SignatureReport[]> =>
    oneByOne(some, (each) => verifySignature(each.der, each, image, { ...options, sha1 }));
  if (!options.roots) return verifyEach(all, true);
  const strict = await verifyEach(all, false);
  if (!strict.some(isGood)) return strict;
  const again = await verifyEach(
    all.filter(({ index }) => strict.some((report) => report.index === index && !isGood(report))),
    true,
  );
  return strict.map((report) => again.find(({ index }) => index === report.index) ?? report);
}

async function oneByOne<T, R>(all: readonly T[], take: (one: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (const each of all) results.push(await take(each));
  return results;
}

const isGood = ({ trusted }: SignatureReport): boolean => trusted === true;

const problemsOf = ({ index, checks }: SignatureReport): Problem[] =>
  checks
    .filter(({ ok }) => ok === false)
    .map(({ code, detail }) => ({ code: code ?? 'unknown', message: detail, signature: index }));

function statusOf(signatures: readonly SignatureReport[], problems: readonly Problem[]): VerifyStatus {
  if (problems.length > 0) return 'bad';
  return signatures.every(isGood) ? 'ok' : 'intact';
}

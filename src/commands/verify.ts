import { plural } from '../plural.ts';
import { tmpdir } from 'node:os';
import { DEFAULT_LIMITS } from '../archive/limits.ts';
import { describeReport } from '../authenticode/describe.ts';
import { printable } from '../printable.ts';
import { SignpipeError, usage } from '../errors.ts';
import { proveFile, type FileProof } from '../signing/prove-file.ts';
import { compilePatterns } from '../signing/patterns.ts';
import { verifyFile, type FileReport, type ProgramReport } from '../signing/verify-file.ts';
import { readRoots, readTimestampRoots } from '../keys/roots.ts';
import { print, printJson, type CommonOptions } from './terminal.ts';

export interface VerifyCommandOptions extends CommonOptions {
  readonly ca?: string;
  readonly timestampCa?: string[];
  readonly original?: string;
  readonly files?: string[];
  readonly json?: boolean;
}

interface Outcome {
  readonly report: FileReport;
  readonly proof: FileProof | null;
  readonly proofError: SignpipeError | null;
}

const VERDICTS = {
  ok: 'good: signed under the given roots',
  intact: 'intact, but nobody vouches for the signer: give --ca to check who signed',
  unsigned: 'not signed',
  bad: 'BAD',
} as const;

/** The programs that must be ours: those that were signed since the original, or those that `--files` names. */
function required(
  { report, proof }: Outcome,
  options: VerifyCommandOptions,
): readonly ProgramReport[] | null {
  if (proof)
    return report.programs.filter(({ path }) => report.kind === 'program' || proof.signed.includes(path));
  if (options.files === undefined || report.kind === 'program') return null;
  const isMeant = compilePatterns(options.files);
  return report.programs.filter(({ path }) => isMeant(path));
}

/** The bytes being whole is not enough: without --ca anyone may have signed them. Only a proof stands by itself. */
function isGood(outcome: Outcome, options: VerifyCommandOptions): boolean {
  const { report, proof, proofError } = outcome;
  if (proofError || report.status === 'bad') return false;
  const programs = required(outcome, options);
  if (programs === null) return report.status === 'ok';
  const enough = proof && options.ca === undefined ? ['ok', 'intact'] : ['ok'];
  return programs.length > 0 && programs.every(({ status }) => enough.includes(status));
}

const count = (programs: readonly ProgramReport[], of: (program: ProgramReport) => boolean): number =>
  programs.filter(of).length;

/** How many of a zip's programs are whose. */
function summary({ programs }: FileReport): string {
  const told = [
    [count(programs, ({ status }) => status === 'ok'), 'signed under the given roots'],
    [
      count(programs, ({ status, stranger }) => status === 'intact' && !stranger),
      'signed, by whom was not checked',
    ],
    [count(programs, ({ stranger }) => stranger === true), 'signed by others than the given roots vouch for'],
    [count(programs, ({ status }) => status === 'unsigned'), 'unsigned'],
    [count(programs, ({ status }) => status === 'bad'), 'BAD'],
  ] as const;
  return `  ${programs.length} programs: ${told
    .filter(([number]) => number > 0)
    .map(([number, what]) => `${number} ${what}`)
    .join(', ')}`;
}

function tell(outcome: Outcome, options: VerifyCommandOptions): string {
  const { report, proof, proofError } = outcome;
  const short = report.status === 'ok' && !isGood(outcome, options);
  const lines = [`${printable(report.path)}: ${short ? 'NOT AS ASKED' : VERDICTS[report.status]}`];
  if (!options.quiet)
    for (const program of report.programs) lines.push(describeReport(program).replace(/^/gm, '  '));
  if (report.kind === 'zip') lines.push(summary(report));
  if (proof)
    lines.push(
      `  proved: it is ${printable(options.original ?? '')} plus ${plural(proof.signed.length, 'signature')}, and nothing else`,
    );
  if (proofError)
    lines.push(`  NOT the original plus signatures: ${printable(proofError.message)} [${proofError.code}]`);
  if (short && !proofError)
    lines.push('  FAILED: not every program that must be is signed under the given roots');
  return lines.join('\n');
}

async function verifyOne(path: string, options: VerifyCommandOptions): Promise<Outcome> {
  const roots = await readRoots(options.ca);
  const timestampRoots = await readTimestampRoots(options.timestampCa);
  const common = { limits: DEFAULT_LIMITS, scratch: tmpdir() };
  const report = await verifyFile(path, {
    ...common,
    ...(roots ? { roots } : {}),
    ...(timestampRoots ? { timestampRoots } : {}),
  });
  if (options.original === undefined) return { report, proof: null, proofError: null };
  try {
    return { report, proof: await proveFile(options.original, path, common), proofError: null };
  } catch (error) {
    if (!(error instanceof SignpipeError) || error.kind !== 'invalid') throw error;
    return { report, proof: null, proofError: error };
  }
}

/** `signpipe verify`: exit status 3 unless everything that was asked holds. */
export async function verifyCommand(files: string[], options: VerifyCommandOptions): Promise<number> {
  if (options.original !== undefined && files.length > 1)
    throw usage('one-original-for-several', '--original is about one file', {
      hint: 'verify one file at a time with it',
    });
  let good = true;
  for (const path of files) {
    const outcome = await verifyOne(path, options);
    good &&= isGood(outcome, options);
    if (options.json) {
      const { report, proof, proofError } = outcome;
      printJson({
        ...report,
        ...(options.original === undefined
          ? {}
          : {
              original: {
                path: options.original,
                proved: proof !== null,
                ...(proofError ? { code: proofError.code, message: proofError.message } : {}),
              },
            }),
      });
    } else print(tell(outcome, options));
  }
  return good ? 0 : 3;
}

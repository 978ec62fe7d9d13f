import { describeReport } from '../authenticode/describe.ts';
import { printable } from '../control/printable.ts';
import { SignpipeError, usage } from '../errors.ts';
import { proveFile, type FileProof } from '../signing/prove-file.ts';
import { verifyFile, type FileReport } from '../signing/verify-file.ts';
import { DEFAULT_LIMITS, readRoots, withScratch } from './defaults.ts';
import { print, type CommonOptions } from './terminal.ts';

export interface VerifyCommandOptions extends CommonOptions {
  readonly ca?: string;
  readonly timestampCa?: string;
  readonly original?: string;
  readonly json?: boolean;
}

interface Outcome {
  readonly report: FileReport;
  readonly proof: FileProof | null;
  readonly proofError: SignpipeError | null;
}

const VERDICTS = {
  ok: 'good: signed, and every signature leads to a root that was given',
  intact: 'intact, but nobody vouches for the signer: give --ca to check who signed',
  unsigned: 'not signed',
  bad: 'BAD',
} as const;

/** The bytes being whole is not enough: without --ca anyone may have signed them. Only a proof stands by itself. */
function isGood({ report, proof, proofError }: Outcome): boolean {
  if (proofError) return false;
  return report.status === 'ok' || (report.status === 'intact' && proof !== null);
}

function tell({ report, proof, proofError }: Outcome, options: VerifyCommandOptions): string {
  const lines = [`${printable(report.path)}: ${VERDICTS[report.status]}`];
  if (!options.quiet)
    for (const program of report.programs) lines.push(describeReport(program).replace(/^/gm, '  '));
  if (proof)
    lines.push(
      `  proved: it is ${options.original ?? ''} plus ${proof.signed.length} signature${proof.signed.length === 1 ? '' : 's'}, and nothing else`,
    );
  if (proofError)
    lines.push(`  NOT the original plus signatures: ${proofError.message} [${proofError.code}]`);
  return lines.join('\n');
}

async function verifyOne(path: string, options: VerifyCommandOptions): Promise<Outcome> {
  const roots = await readRoots(options.ca);
  const timestampRoots = await readRoots(options.timestampCa);
  return withScratch(async (scratch) => {
    const common = { limits: DEFAULT_LIMITS, scratch };
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
  });
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
    good &&= isGood(outcome);
    if (options.json) {
      const { report, proof, proofError } = outcome;
      print(
        JSON.stringify({
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
        }),
      );
    } else print(tell(outcome, options));
  }
  return good ? 0 : 3;
}

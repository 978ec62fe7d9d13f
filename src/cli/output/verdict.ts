import type { SignpipeError } from '../../lib/errors.ts';
import { printable } from '../../lib/printable.ts';
import type { FileProof } from '../../engine/artifact/prove-file.ts';
import type { FileReport } from '../../engine/artifact/verify-file.ts';
import type { ProgramReport } from '../../engine/artifact/verify-program.ts';

/** What is known about one file. */
export interface VerifyOutcome {
  readonly report: FileReport;
  readonly proof: FileProof | null;
  readonly proofError: SignpipeError | null;
}

/** What a file must satisfy to be good. */
interface Demands {
  /** Whether roots were given. */
  readonly roots: boolean;
  /** Whether any signer is accepted. */
  readonly anySigner: boolean;
  /** Whether patterns say which programs must be good. */
  readonly files: boolean;
}

/** The programs that must be good: those signed since the original, and those that the patterns name. */
function requiredOf({ report, proof }: VerifyOutcome, { files }: Demands): readonly ProgramReport[] | null {
  if (report.kind === 'program') return proof || files ? report.programs : null;
  if (!proof && !files) return null;
  const since = new Set(proof?.signed.map(({ path }) => path));
  return report.programs.filter(({ path, meant }) => since.has(path) || meant === true);
}

const UNCHECKED =
  'who signed was not checked: give --ca ROOTS, or --any-signer if it does not matter who it was';

const named = (path: string, what: string): string => `${printable(path)}: ${what}`;

/** What is wrong with a program that must be good; null if it is good. */
function faultOf({ path, status, stranger }: ProgramReport, { roots, anySigner }: Demands): string | null {
  if (status === 'ok' || status === 'bad') return null; // Bad programs are reported by `badFaults`.
  if (status === 'unsigned') return named(path, 'is not signed');
  if (stranger) return named(path, 'is not signed under the given roots');
  return anySigner || roots ? null : UNCHECKED;
}

function requiredFaults(required: readonly ProgramReport[], demands: Demands): string[] {
  if (required.length === 0) return ['it contains none of the programs that must be signed'];
  return required.map((program) => faultOf(program, demands)).filter((fault) => fault !== null);
}

/** If no programs are required to be good, at least one has to be. */
function wholeFaults({ kind, status }: FileReport, { roots, anySigner }: Demands): string[] {
  if (status === 'unsigned') return [kind === 'zip' ? 'nothing in it is signed' : 'it is not signed'];
  if (status !== 'intact') return [];
  if (roots) return ['nothing in it is signed under the given roots'];
  return anySigner ? [] : [UNCHECKED];
}

const badFaults = ({ path: file, kind, programs }: FileReport): string[] =>
  programs.flatMap(({ path, status, problems }) => {
    if (status !== 'bad') return [];
    const itself = kind === 'zip' ? `${file}!/${path}: ` : `${path}: `;
    const why = problems.map(({ message, code }) => `${printable(message.replace(itself, ''))} [${code}]`);
    return [named(path, why.join('; '))];
  });

const unreadFaults = ({ unread }: FileReport): string[] =>
  unread.flatMap(({ suspect, message, code }) => (suspect ? [`${printable(message)} [${code}]`] : []));

/** Everything that is wrong with a file, each once; empty if the file is good. */
export function faultsOf(outcome: VerifyOutcome, demands: Demands): readonly string[] {
  const { report, proofError } = outcome;
  const required = requiredOf(outcome, demands);
  return [
    ...new Set([
      ...(proofError
        ? [`not the original plus signatures: ${printable(proofError.message)} [${proofError.code}]`]
        : []),
      ...badFaults(report),
      ...unreadFaults(report),
      ...(proofError ? [] : required ? requiredFaults(required, demands) : wholeFaults(report, demands)),
    ]),
  ];
}

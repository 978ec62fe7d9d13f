import { printable } from '../../lib/printable.ts';
import type { SignpipeError } from '../../lib/errors.ts';
import type { FileProof } from '../../engine/artifact/prove-file.ts';
import type { FilesReport } from '../../engine/catalog/check-files.ts';
import type { FileReport } from '../../engine/artifact/verify-file.ts';
import { placeKey, shownPlace, type Place } from '../../engine/artifact/inside/place.ts';
import type { ProgramReport } from '../../engine/artifact/verify-program.ts';
import { identityDiffers, isSignedBy } from '../../engine/authenticode/signed-by.ts';
import type { VerifiedProvenance } from '../../engine/provenance/verify-provenance.ts';

/** What is known about one file. */
export interface VerifyOutcome {
  readonly report: FileReport;
  readonly proof: FileProof | null;
  readonly proofError: SignpipeError | null;
  readonly provenance: VerifiedProvenance | null;
  readonly provenanceError: SignpipeError | null;
  /** The folder that was compared with the catalog, and why it could not be. */
  readonly folder: FilesReport | null;
  readonly folderError: SignpipeError | null;
}

/** What a file must satisfy to be good. */
export interface Demands {
  /** Whether roots were given. */
  readonly roots: boolean;
  /** Who must have signed under the roots; any identity if left out. */
  readonly identity: string | undefined;
  /** Whether any signer is accepted. */
  readonly anySigner: boolean;
  /** Whether patterns say which programs must be good. */
  readonly files: boolean;
}

/**
 * The programs that must be good: those signed since the original, those that provenance names, and those that the
 * patterns name.
 */
function requiredOf(
  { report, proof, provenance }: VerifyOutcome,
  { files }: Demands,
): readonly ProgramReport[] | null {
  const isZip = report.kind === 'zip';
  if (!proof && !files && !(provenance && isZip)) return null;
  const attested = provenance?.signing.statement.predicate.programs ?? [];
  const since = new Set([...(proof?.signed ?? []), ...attested].map(placeKey));
  return report.programs.filter(
    (program, index) => (!isZip && index === 0) || since.has(placeKey(program)) || program.meant === true,
  );
}

const UNCHECKED =
  'who signed was not checked: give --ca ROOTS, or --any-signer if it does not matter who it was';

const named = (place: Place, what: string): string => `${printable(shownPlace(place))}: ${what}`;

/** What is wrong with a program that must be good; null if it is good. */
function faultOf(program: ProgramReport, { roots, anySigner, identity }: Demands): string | null {
  const { status, stranger } = program;
  if (status === 'bad') return null; // `badFaults` reports it.
  if (status === 'ok') return identity === undefined ? null : identityFault(program, identity);
  if (status === 'unsigned') return named(program, 'is not signed');
  if (stranger) return named(program, 'is not signed under the given roots');
  return anySigner || roots ? null : UNCHECKED;
}

/** What is wrong with a good program if it must be signed by an identity; null if it is. */
function identityFault(program: ProgramReport, identity: string): string | null {
  if (isSignedBy(program, identity)) return null;
  const { message, code } = identityDiffers(program, identity);
  return `${named(program, message)} [${code}]`;
}

function requiredFaults(required: readonly ProgramReport[], demands: Demands): string[] {
  if (required.length === 0) return ['it contains none of the programs that must be signed'];
  return required.map((program) => faultOf(program, demands)).filter((fault) => fault !== null);
}

/** If no programs are required to be good, at least one has to be. */
function wholeFaults(
  { kind, status, programs }: FileReport,
  { roots, anySigner, identity }: Demands,
): string[] {
  if (status === 'unsigned') return [kind === 'zip' ? 'nothing in it is signed' : 'it is not signed'];
  if (status === 'ok' && identity !== undefined)
    return noneSignedBy(kind === 'zip' ? programs : programs.slice(0, 1), identity);
  if (status !== 'intact') return [];
  if (roots) return ['nothing in it is signed under the given roots'];
  return anySigner ? [] : [UNCHECKED];
}

/** What is wrong with a file if one of its good programs must be signed by an identity. */
function noneSignedBy(programs: readonly ProgramReport[], identity: string): string[] {
  const faults = programs
    .filter(({ status }) => status === 'ok')
    .map((each) => identityFault(each, identity));
  return faults.includes(null) ? [] : faults.filter((fault) => fault !== null);
}

const badFaults = ({ path: file, kind, programs }: FileReport): string[] =>
  programs.flatMap((program, index) => {
    const { path, status, problems } = program;
    if (status !== 'bad') return [];
    const itself = kind !== 'zip' && index === 0 ? `${path}: ` : `${file}!/${shownPlace(program)}: `;
    const why = problems.map(({ message, code }) => `${printable(message.replace(itself, ''))} [${code}]`);
    return [named(program, why.join('; '))];
  });

const unreadFaults = ({ unread }: FileReport): string[] =>
  unread.flatMap(({ suspect, message, code }) => (suspect ? [`${printable(message)} [${code}]`] : []));

/** Whether provenance says that nothing in the file was signed, and nothing else demands signatures. */
const isUnchanged = ({ proof, provenance }: VerifyOutcome, { files, roots }: Demands): boolean =>
  provenance?.signing.statement.predicate.programs.length === 0 && !proof && !files && !roots;

const folderFaults = ({ folder, folderError }: VerifyOutcome): string[] => [
  ...(folderError ? [`${printable(folderError.message)} [${folderError.code}]`] : []),
  ...(folder?.faults ?? []).map(
    ({ path, message, code }) => `${printable(path)}: ${printable(message)} [${code}]`,
  ),
];

/** Everything that is wrong with a file, each once; empty if the file is good. */
export function faultsOf(outcome: VerifyOutcome, asked: Demands): readonly string[] {
  const { report, proofError, provenance, provenanceError } = outcome;
  // Provenance that holds says who signed: the certificate that the signer's own key states.
  const demands = { ...asked, anySigner: asked.anySigner || provenance !== null };
  const required = requiredOf(outcome, demands);
  const unchecked = proofError ?? provenanceError ?? (isUnchanged(outcome, demands) || null);
  return [
    ...new Set([
      ...(proofError
        ? [`not the original plus signatures: ${printable(proofError.message)} [${proofError.code}]`]
        : []),
      ...(provenanceError
        ? [`provenance: ${printable(provenanceError.message)} [${provenanceError.code}]`]
        : []),
      ...badFaults(report),
      ...unreadFaults(report),
      ...folderFaults(outcome),
      ...(unchecked ? [] : required ? requiredFaults(required, demands) : wholeFaults(report, demands)),
    ]),
  ];
}

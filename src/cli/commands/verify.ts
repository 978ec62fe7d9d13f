import { painter, wantsColour } from '../../lib/terminal-colors.ts';
import { plural } from '../../lib/plural.ts';
import { tmpdir } from 'node:os';
import { DEFAULT_LIMITS } from '../../lib/zip/limits.ts';
import { describeReport } from '../../engine/authenticode/report-text.ts';
import { printable } from '../../lib/printable.ts';
import { isInvalid, isRefused, usage, type SignpipeError } from '../../lib/errors.ts';
import type { FileProof } from '../../engine/artifact/prove-file.ts';
import { withFile } from '../../lib/bytes/byte-source.ts';
import { sha256OfFile } from '../../lib/bytes/hash.ts';
import { compilePatterns } from '../../engine/artifact/globs.ts';
import { verifyFile, type FileReport } from '../../engine/artifact/verify-file.ts';
import { placeKey, shownPlace } from '../../engine/artifact/inside/place.ts';
import type { VerifyFileOptions } from '../../engine/artifact/inside/verify-inside.ts';
import type { ProgramReport } from '../../engine/artifact/verify-program.ts';
import type { ProveOptions } from '../../engine/artifact/prove-zip.ts';
import { readRoots, readTimestampRoots } from '../../engine/keys/trusted-roots.ts';
import type { FilesReport } from '../../engine/catalog/check-files.ts';
import { faultsOf, type VerifyOutcome } from './verify-faults.ts';
import { checkProvenance, requireProvenanceOptions } from './verify-provenance.ts';
import { provenanceJson, provenanceLines } from '../output/provenance-text.ts';
import { print, printJson, type CommonOptions } from '../output/terminal.ts';

interface VerifyCommandOptions extends CommonOptions {
  readonly ca?: string;
  readonly timestampCa?: string[];
  readonly identity?: string;
  readonly original?: string;
  readonly files?: string[];
  readonly anySigner?: boolean;
  readonly folder?: string;
  readonly provenance?: string;
  readonly receiptSigners?: string;
  readonly json?: boolean;
}

const VERDICTS = {
  ok: 'good: signed under the given roots',
  intact: 'intact, but who signed was not checked',
  unsigned: 'not signed',
  bad: 'BAD',
} as const;

/** The most faults that are printed for one file. */
const MAX_FAULTS = 20;

const count = (programs: readonly ProgramReport[], of: (program: ProgramReport) => boolean): number =>
  programs.filter(of).length;

/** How many programs of a zip have which status. */
function summary({ report: { programs }, provenance }: VerifyOutcome): string {
  const attested = new Set(provenance?.signing.statement.predicate.programs.map(placeKey));
  const isAttested = (program: ProgramReport): boolean =>
    program.status === 'intact' && !program.stranger && attested.has(placeKey(program));
  const counts = [
    [count(programs, ({ status }) => status === 'ok'), 'signed under the given roots'],
    [count(programs, isAttested), 'signed as provenance states'],
    [
      count(programs, (each) => each.status === 'intact' && !each.stranger && !isAttested(each)),
      'signed, but who signed was not checked',
    ],
    [count(programs, ({ stranger }) => stranger === true), 'signed by others, not under the given roots'],
    [count(programs, ({ status }) => status === 'unsigned'), 'unsigned'],
    [count(programs, ({ status }) => status === 'bad'), 'BAD'],
  ] as const;
  return `  ${plural(programs.length, 'program')}: ${counts
    .filter(([number]) => number > 0)
    .map(([number, what]) => `${number} ${what}`)
    .join(', ')}`;
}

function headline({ report, provenance }: VerifyOutcome, faults: readonly string[]): string {
  if (provenance && faults.length === 0 && report.status !== 'ok') return 'good: as its provenance says';
  if (report.status === 'ok' && faults.length > 0) return 'NOT AS ASKED';
  if (report.status === 'intact' && faults.length === 0) return 'intact; who signed was not checked';
  return VERDICTS[report.status];
}

/** What was not examined, without making the zip bad. */
const unreadLines = ({ unread }: FileReport): string[] =>
  unread.filter(({ suspect }) => !suspect).map(({ message }) => `  not examined: ${printable(message)}`);

/** The most programs that are named in one line. */
const MAX_NAMED = 5;

/** Programs that a signed container holds without a signature of their own. */
function unsignedInsideLines({ unsignedInside }: FileReport): string[] {
  if (unsignedInside.length === 0) return [];
  const named = unsignedInside.slice(0, MAX_NAMED).map((place) => printable(shownPlace(place), 300));
  const more = unsignedInside.length - named.length;
  return [`  unsigned inside a signed container: ${named.join(', ')}${more > 0 ? `, and ${more} more` : ''}`];
}

function faultLines(faults: readonly string[]): string[] {
  const more = faults.length - MAX_FAULTS;
  return [
    ...faults.slice(0, MAX_FAULTS).map((fault) => `  FAILED: ${fault}`),
    ...(more > 0 ? [`  FAILED: ${more} more; --json lists them all`] : []),
  ];
}

function describeOutcome(
  outcome: VerifyOutcome,
  faults: readonly string[],
  options: VerifyCommandOptions,
): string {
  const { report, proof } = outcome;
  const paint = painter(wantsColour(process.stdout));
  const verdict = paint(headline(outcome, faults), faults.length > 0 ? 'bad' : 'good');
  const lines = [`${printable(report.path)}: ${verdict}`];
  if (!options.quiet) {
    for (const program of report.programs)
      lines.push(describeReport({ ...program, path: shownPlace(program) }).replace(/^/gm, '  '));
  }
  lines.push(...unreadLines(report), ...unsignedInsideLines(report));
  if (report.kind === 'zip' || report.programs.length > 1) lines.push(summary(outcome));
  if (proof)
    lines.push(
      `  proved: it is ${printable(options.original ?? '')} plus ${plural(proof.signed.length, 'signature')}, and nothing else`,
    );
  if (outcome.folder)
    lines.push(
      `  ${printable(options.folder ?? '')}: ${plural(outcome.folder.good, 'file')} as the catalog says`,
    );
  if (outcome.provenance) lines.push(...provenanceLines(outcome.provenance));
  lines.push(...faultLines(faults));
  return lines.join('\n');
}

/** The result of a check, or the error with which it refuses the file. */
async function refusable<T>(check: () => Promise<T>): Promise<[T, null] | [null, SignpipeError]> {
  try {
    return [await check(), null];
  } catch (error) {
    if (!isRefused(error)) throw error;
    return [null, error];
  }
}

/** The report on a file; one that cannot be signed has an empty report if provenance can say something about it. */
async function reportOn(
  path: string,
  { provenance }: VerifyCommandOptions,
  options: VerifyFileOptions,
): Promise<FileReport> {
  try {
    return await verifyFile(path, options);
  } catch (error) {
    if (provenance === undefined || !isInvalid(error) || error.code !== 'not-signable') throw error;
    return { path, kind: 'other', status: 'unsigned', programs: [], unread: [], unsignedInside: [] };
  }
}

const sizeOf = (path: string): Promise<number> => withFile(path, async ({ size }) => size);

/**
 * Whether a file is its original, of which provenance is to say that nothing in it was signed: then there is nothing to
 * prove. Without provenance, a file without a signature is what the proof refuses. Sizes come first: those of signed files
 * differ almost always, and then neither file is read here.
 */
const isUnchanged = async (path: string, { original, provenance }: VerifyCommandOptions): Promise<boolean> =>
  original !== undefined &&
  provenance !== undefined &&
  (await sizeOf(original)) === (await sizeOf(path)) &&
  (await sha256OfFile(original)) === (await sha256OfFile(path));

/** Compares the folder with what the catalog lists; null if there is none to compare. */
async function checkFolder(path: string, { folder }: VerifyCommandOptions): Promise<FilesReport | null> {
  if (folder === undefined) return null;
  // Loaded only here: few files are catalogs.
  const { checkFiles } = await import('../../engine/catalog/check-files.ts');
  return withFile(path, (catalog) => checkFiles(catalog, folder));
}

async function prove(original: string, path: string, options: ProveOptions): Promise<FileProof> {
  // Loaded only here: most runs compare nothing, and it brings along all that reads and writes zips.
  const { proveFile } = await import('../../engine/artifact/prove-file.ts');
  return proveFile(original, path, options);
}

async function verifyOne(path: string, options: VerifyCommandOptions): Promise<VerifyOutcome> {
  const roots = await readRoots(options.ca);
  const timestampRoots = await readTimestampRoots(options.timestampCa);
  const common = { limits: DEFAULT_LIMITS, scratch: tmpdir() };
  const report = await reportOn(path, options, {
    ...common,
    ...(roots ? { roots } : {}),
    ...(timestampRoots ? { timestampRoots } : {}),
    ...(options.files ? { isMeant: compilePatterns(options.files) } : {}),
  });
  const { original } = options;
  const [proof, proofError] =
    original === undefined || (await isUnchanged(path, options))
      ? [null, null]
      : await refusable(() => prove(original, path, common));
  const [provenance, provenanceError] = await refusable(() => checkProvenance(report, options));
  const [folder, folderError] = await refusable(() => checkFolder(path, options));
  return { report, proof, proofError, provenance, provenanceError, folder, folderError };
}

function jsonOf(
  { report, proof, proofError, provenance, provenanceError, folder, folderError }: VerifyOutcome,
  faults: readonly string[],
  options: VerifyCommandOptions,
): object {
  const original =
    options.original === undefined
      ? {}
      : { original: { path: options.original, proved: proof !== null, ...errorJson(proofError) } };
  const attested =
    options.provenance === undefined
      ? {}
      : {
          provenance: {
            path: options.provenance,
            ...provenanceJson(provenance),
            ...errorJson(provenanceError),
          },
        };
  const files =
    options.folder === undefined
      ? {}
      : { folder: { path: options.folder, ...folder, ...errorJson(folderError) } };
  return { ...report, ...original, ...attested, ...files, good: faults.length === 0, faults };
}

const errorJson = (error: SignpipeError | null): object =>
  error ? { code: error.code, message: error.message } : {};

/** Throws `identity-without-ca` unless there are roots: anyone can make a certificate with any name. */
function requireRootsForIdentity({ identity, ca }: VerifyCommandOptions): void {
  if (identity !== undefined && ca === undefined)
    throw usage('identity-without-ca', '--identity proves nothing without --ca', {
      hint: 'give --ca with the roots of the authority that certifies this name: anyone can make a certificate with any name',
    });
}

/** `signpipe verify`: the exit status is 3 unless every demand of the options is met, and who signed was checked. */
export async function verifyCommand(files: string[], options: VerifyCommandOptions): Promise<number> {
  if (options.original !== undefined && files.length > 1)
    throw usage('one-original-for-several', '--original applies to one file', {
      hint: 'verify one file at a time with it',
    });
  if (options.anySigner && options.ca !== undefined)
    throw usage('any-signer-with-ca', '--ca and --any-signer contradict each other', {
      hint: 'give one of the two',
    });
  if (options.folder !== undefined && files.length > 1)
    throw usage('one-folder-for-several', '--folder applies to one catalog', {
      hint: 'verify one catalog at a time with it',
    });
  requireProvenanceOptions(files, options);
  requireRootsForIdentity(options);
  const demands = {
    roots: options.ca !== undefined,
    identity: options.identity,
    anySigner: options.anySigner === true,
    files: options.files !== undefined,
  };
  let good = true;
  for (const path of files) {
    const outcome = await verifyOne(path, options);
    const faults = faultsOf(outcome, demands);
    good &&= faults.length === 0;
    if (options.json) printJson(jsonOf(outcome, faults, options));
    else print(describeOutcome(outcome, faults, options));
  }
  return good ? 0 : 3;
}

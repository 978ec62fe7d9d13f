import { join } from 'node:path';
import { isUnchanged, type Receipt, type ReceiptFile } from '../../protocol/control/receipt-schema.ts';
import { nameProblem, pathProblem, type RequestedFile } from '../../protocol/control/zipname.ts';
import { invalid, notAllowed } from '../../lib/errors.ts';
import { sha256OfSource } from '../../lib/bytes/hash.ts';
import { withTempFolder } from '../../lib/bytes/temp-folder.ts';
import { withFile } from '../../lib/bytes/byte-source.ts';
import { readRoots, readTimestampRoots } from '../../engine/keys/trusted-roots.ts';
import { withProgressBar } from '../../lib/progress.ts';
import { placeKey, shownPlace } from '../../engine/artifact/inside/place.ts';
import { proveFile, type FileProof } from '../../engine/artifact/prove-file.ts';
import { verifyFile } from '../../engine/artifact/verify-file.ts';
import { differs, digestDiffers, downloadFile } from './download-file.ts';
import { attachmentsToDownload, downloadAttachments } from './download-attachments.ts';
import { requireOutputFolder } from './output-folder.ts';
import { matchOriginals } from './match-originals.ts';
import type { BuilderSession } from './session.ts';

type SignedOutput = NonNullable<ReceiptFile['output']>;

function outputOf({ output, input }: ReceiptFile): SignedOutput {
  if (!output) throw invalid('receipt-without-output', `${input.name}: the receipt names no signed file`);
  const problem = nameProblem(output.name) ?? pathProblem(output.path ?? output.name);
  if (problem !== null) throw invalid('receipt-name', `the receipt names a file that ${problem}`);
  return output;
}

/** The files of a receipt, and the request's entries for them. */
interface ReceiptedFiles {
  readonly files: readonly ReceiptFile[];
  readonly attachments?: Receipt['attachments'];
  readonly requested: readonly RequestedFile[];
}

/** Whether the request pins every byte of a file. Pins of single programs do not cover the rest of their zip. */
const isPinnedWhole = ({ requested }: ReceiptedFiles, { input }: ReceiptFile): boolean =>
  requested.some(({ name, sha256 }) => name === input.name && sha256 !== undefined);

/**
 * The unsigned file that a signed one is to be proved against; undefined if none was given. Throws `original-needed`,
 * before anything is downloaded, if the request does not pin the whole file: the exchange could have changed the rest
 * of it before the signer fetched it, whatever the receipt says that the signer saw.
 */
function originalOf(
  receipted: ReceiptedFiles,
  file: ReceiptFile,
  pairs: ReadonlyMap<string, string>,
): string | undefined {
  const { name } = outputOf(file);
  const original = pairs.get(name);
  if (original !== undefined || isPinnedWhole(receipted, file)) return original;
  throw notAllowed(
    'original-needed',
    `${name}: the request does not pin the whole file, so nothing proves that the rest of it is what was submitted`,
    { hint: 'give the submitted file, to compare the rest with it: --original FILE' },
  );
}

/** Checks that the signer signed the original: by size and, if the signer saw all of it, by SHA-256. */
async function requireInput(original: string, { input }: ReceiptFile): Promise<void> {
  await withFile(original, async (source) => {
    const sizeDiffers = input.size !== undefined && input.size !== source.size;
    if (!sizeDiffers && input.sha256 === undefined) return;
    const sha256 = sizeDiffers ? null : await sha256OfSource(source);
    if (sha256 === input.sha256) return;
    const seenBySigner = sizeDiffers ? `${input.size} bytes` : `SHA-256 ${input.sha256}`;
    throw differs(
      input.name,
      `the signer fetched another file than ${original}: it saw ${seenBySigner}, this is ${sha256 ?? `${source.size} bytes`}`,
    );
  });
}

/** Proves that the signed file is the original in which exactly the programs were signed that the receipt names. */
async function prove(
  { config: { limits } }: BuilderSession,
  original: string,
  signed: string,
  file: ReceiptFile,
  scratch: string,
): Promise<void> {
  await requireInput(original, file);
  const { name, sha256 } = outputOf(file);
  // Its SHA-256, which was compared, is that of the original.
  if (isUnchanged(file) || (sha256 !== undefined && sha256 === file.input.sha256)) return;
  // A program that is signed again by the same key, without a timestamp, may get the very signature that it had.
  const changed = file.signed.filter(({ before, after }) => before.sha256 !== after.sha256);
  const proof = await proveFile(original, signed, { limits, scratch, name });
  if (proof.kind === 'program' && proof.signed.length === 1 && changed.length === 1) return;
  if (proof.signed.length !== changed.length)
    throw differs(name, `${proof.signed.length} programs changed, the receipt names ${changed.length}`);
  const proved = new Map(proof.signed.map((each) => [placeKey(each), each]));
  for (const program of changed)
    if (!isProved(program, proved.get(placeKey(program))))
      throw differs(name, `"${shownPlace(program)}" is not the program that the receipt names`);
}

/** Of a file that is not a zip, the digests of the whole were compared before. */
const isProved = (
  { path, before, after }: ReceiptFile['signed'][number],
  proof: FileProof['signed'][number] | undefined,
): boolean =>
  proof !== undefined && (path === '' || (proof.before === before.sha256 && proof.after === after.sha256));

/** Checks that every program which the receipt names is signed under the roots that builder.yaml trusts. */
async function requireTrusted(
  { config }: BuilderSession,
  signed: string,
  file: ReceiptFile,
  scratch: string,
): Promise<void> {
  const roots = await readRoots(config.trust.roots);
  if (!roots || isUnchanged(file)) return;
  const timestampRoots = await readTimestampRoots(config.trust.timestampRoots);
  const options = { limits: config.limits, scratch, roots, ...(timestampRoots ? { timestampRoots } : {}) };
  const { programs } = await verifyFile(signed, options, outputOf(file).name);
  const byPlace = new Map(programs.map((each) => [placeKey(each), each]));
  for (const entry of file.signed) {
    const program = entry.path === '' ? programs[0] : byPlace.get(placeKey(entry));
    if (program?.status === 'ok') continue;
    const why = program?.problems[0]?.message ?? 'its signature leads to another root';
    throw notAllowed(
      'signed-program-untrusted',
      `${outputOf(file).name}: ${entry.path === '' ? 'it' : `"${shownPlace(entry)}"`} is not signed under trust.roots: ${why}`,
      { hint: 'do not use the file; ask the signer operator which certificate signs now' },
    );
  }
}

/** Downloads one file with a progress bar; it gets its own name once `check` has passed. */
async function downloadOne(
  session: BuilderSession,
  file: ReceiptFile,
  folder: string,
  check: (path: string, sha256: string) => Promise<void>,
): Promise<string> {
  const { name, size, path: from = name } = outputOf(file);
  return withProgressBar(session.progress, `download ${name}`, 'bytes', (onProgress) =>
    downloadFile(
      session,
      { from, path: join(folder, name), limit: size, onProgress },
      (temporary, { sha256 }) => check(temporary, sha256),
    ),
  );
}

/** Checks a downloaded file against the receipt, the original if there is one, and the trusted roots. */
async function checkDownload(
  session: BuilderSession,
  file: ReceiptFile,
  download: { path: string; sha256: string },
  original: string | undefined,
): Promise<void> {
  const { name, sha256 } = outputOf(file);
  if (sha256 !== undefined && download.sha256 !== sha256) throw digestDiffers(name, download.sha256, sha256);
  await withTempFolder(async (scratch) => {
    if (original !== undefined) await prove(session, original, download.path, file, scratch);
    await requireTrusted(session, download.path, file, scratch);
  });
}

/**
 * Downloads the signed files of a receipt and checks them against its digests. If an original is given (see
 * `matchOriginals`), the signed file is proved to be that one plus the signatures; a file that the request does not
 * pin as a whole needs one. No file gets its name before all checks have passed. What was delivered beside them is
 * downloaded too. Returns the paths.
 */
export async function downloadSigned(
  session: BuilderSession,
  receipted: ReceiptedFiles,
  folder: string,
  originals: readonly string[] = [],
): Promise<string[]> {
  const names = receipted.files.map((file) => outputOf(file).name);
  const pairs = matchOriginals(names, originals);
  const planned = receipted.files.map((file) => ({ file, original: originalOf(receipted, file, pairs) }));
  const attached = attachmentsToDownload(receipted).map(({ name }) => name);
  await requireOutputFolder(folder, [...names, ...attached], originals);
  const paths: string[] = [];
  for (const { file, original } of planned) {
    paths.push(
      await downloadOne(session, file, folder, (path, sha256) =>
        checkDownload(session, file, { path, sha256 }, original),
      ),
    );
    if (original !== undefined)
      session.say(`${outputOf(file).name}: proved to be ${original} plus its signatures`);
  }
  return [...paths, ...(await downloadAttachments(session, receipted, folder))];
}

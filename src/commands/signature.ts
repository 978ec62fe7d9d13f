import { DEFAULT_LIMITS } from '../archive/read.ts';
import { openImage } from '../authenticode/image.ts';
import { findReceipt } from '../control/receipt.ts';
import { invalid, usage } from '../errors.ts';
import { writeFileAtomically, writeStreamAtomically } from '../io/atomic.ts';
import { patched } from '../io/patch.ts';
import { readAll, withFile } from '../io/source.ts';
import { attachToFile, type DetachedSignature } from '../signing/attach-file.ts';
import { withScratch } from '../io/scratch.ts';
import { withRepository } from './repository.ts';
import { print, sayUnlessQuiet, type CommonOptions } from './terminal.ts';

export interface OutputOptions extends CommonOptions {
  readonly output: string;
}

export interface AttachCommandOptions extends OutputOptions {
  readonly signature?: string;
  readonly receipt?: string;
  readonly repo?: string;
  readonly requests: string;
  readonly receipts: string;
}

/** No signature with its chain and timestamp comes near. */
const MAX_SIGNATURE = 4 * 1024 * 1024;

/** `signpipe signature extract`: the detached PKCS#7 signature, DER. */
export async function extractCommand(file: string, options: OutputOptions): Promise<number> {
  const signature = await withFile(file, async (source) => (await openImage(source)).signature);
  if (!signature) throw invalid('not-signed', `${file}: it bears no signature`);
  await writeFileAtomically(options.output, signature);
  sayUnlessQuiet(options)(`${options.output}: ${signature.length} bytes of PKCS#7, DER`);
  return 0;
}

/** `signpipe signature remove`: the program without its signature. */
export async function removeCommand(file: string, options: OutputOptions): Promise<number> {
  await withFile(file, async (source) => {
    const image = await openImage(source);
    if (!image.signature) throw invalid('not-signed', `${file}: it bears no signature`);
    await writeStreamAtomically(options.output, patched(await image.remove()));
  });
  sayUnlessQuiet(options)(`${options.output}: ${file} without its signature`);
  return 0;
}

interface Wanted {
  readonly wanted: DetachedSignature[];
  /** What the whole result must come to, when somebody said. */
  readonly sha256: string | undefined;
}

/** The detached signatures of one request, out of the control repository. */
const fromReceipt = (
  request: string,
  repo: string,
  branches: { requests: string; receipts: string },
): Promise<Wanted> =>
  withRepository(repo, branches, async (repository) => {
    const { receipts } = await repository.heads();
    const id = await repository.resolveCommit(request);
    const found = receipts === null ? null : await findReceipt(repository, receipts, id);
    const [file, ...others] = found?.receipt.files ?? [];
    if (!found || found.receipt.outcome !== 'signed' || !file)
      throw invalid('not-signed', `request ${request}: nothing was signed for it`);
    if (others.length > 0)
      throw usage('receipt-of-several', `request ${request} is about several files`, {
        hint: 'attach with --signature, one file at a time',
      });
    const wanted: DetachedSignature[] = [];
    for (const { path, before, after } of file.signed)
      wanted.push({
        path,
        before: before.sha256,
        after: after.sha256,
        signature: await found.signature(before.sha256),
      });
    return { wanted, sha256: file.output?.sha256 };
  });

async function wantedBy(options: AttachCommandOptions): Promise<Wanted> {
  const { signature, receipt, repo } = options;
  if (signature !== undefined && receipt === undefined)
    return {
      wanted: [{ path: '', signature: await withFile(signature, (file) => readAll(file, MAX_SIGNATURE)) }],
      sha256: undefined,
    };
  if (signature === undefined && receipt !== undefined && repo !== undefined)
    return fromReceipt(receipt, repo, options);
  throw usage('signature-missing', 'which signature is to be attached?', {
    hint: 'give --signature P7, or --receipt REQUEST --repo URL',
  });
}

/** `signpipe signature attach`: the signed file, bit for bit, without the key. */
export async function attachCommand(file: string, options: AttachCommandOptions): Promise<number> {
  const { wanted, sha256 } = await wantedBy(options);
  const actual = await withScratch((scratch) =>
    attachToFile(file, wanted, options.output, { limits: DEFAULT_LIMITS, scratch }),
  );
  if (sha256 !== undefined && sha256 !== actual)
    throw invalid('rebuild-differs', `${options.output}: SHA-256 is ${actual}, the receipt says ${sha256}`, {
      hint: 'the programs match, but something else in the zip differs, or another zlib packed it: compare with signpipe verify --original',
    });
  sayUnlessQuiet(options)(
    sha256 === undefined
      ? `${options.output}: signature attached`
      : `${options.output}: bit for bit what the receipt speaks of`,
  );
  print(actual);
  return 0;
}

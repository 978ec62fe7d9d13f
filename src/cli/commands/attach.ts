import { tmpdir } from 'node:os';
import { basename } from 'node:path';
import { attachToFile, type DetachedSignature } from '../../engine/artifact/attach-file.ts';
import { invalid, usage, type SignpipeError } from '../../lib/errors.ts';
import { readAll, withFile } from '../../lib/bytes/byte-source.ts';
import { DEFAULT_LIMITS } from '../../lib/zip/limits.ts';
import type { ReceiptFile } from '../../protocol/control/receipt-schema.ts';
import { outputTo, printFileAsJson, writeOutputFile, type OutputOptions } from '../output/output-file.ts';
import { print, sayUnlessQuiet } from '../output/terminal.ts';

interface AttachCommandOptions extends OutputOptions {
  readonly signature?: string;
  readonly receipt?: string;
  readonly repo?: string;
  readonly requests: string;
  readonly receipts: string;
}

interface SignaturesToAttach {
  readonly signatures: DetachedSignature[];
  /** The SHA-256 that the result must have, if it is known. */
  readonly sha256: string | undefined;
}

/** Far more than any signature with its chain and timestamp. */
const MAX_SIGNATURE = 4 * 1024 * 1024;

async function signaturesFor(file: string, options: AttachCommandOptions): Promise<SignaturesToAttach> {
  const { signature, receipt, repo } = options;
  if (signature !== undefined && receipt === undefined) {
    const content = await withFile(signature, (p7) => readAll(p7, MAX_SIGNATURE));
    return { signatures: [{ path: '', signature: content }], sha256: undefined };
  }
  if (signature === undefined && receipt !== undefined && repo !== undefined)
    return signaturesFromReceipt(receipt, repo, basename(file), options);
  throw usage('signature-missing', 'which signature is to be attached?', {
    hint: 'give --signature P7, or --receipt REQUEST --repo URL',
  });
}

/** The only file of a request, or the one with this name. */
function fileNamed(files: readonly ReceiptFile[], name: string, request: string): ReceiptFile | undefined {
  if (files.length < 2) return files[0];
  const file = files.find(({ input }) => input.name === name);
  if (file) return file;
  throw usage(
    'receipt-of-several',
    `request ${request} is about ${files.length} files, none of them named ${name}`,
    { hint: `give the file the name that it has there: ${files.map(({ input }) => input.name).join(', ')}` },
  );
}

/** The signatures of a file, from the receipt of a request. What reads receipts is loaded only if one is named. */
async function signaturesFromReceipt(
  request: string,
  repo: string,
  name: string,
  branches: { requests: string; receipts: string },
): Promise<SignaturesToAttach> {
  const [{ findReceipt }, { withRepository }] = await Promise.all([
    import('../../protocol/control/receipt-history.ts'),
    import('../../protocol/control/with-repository.ts'),
  ]);
  return withRepository(repo, branches, async (repository) => {
    const { receipts } = await repository.heads();
    const id = await repository.resolveCommit(request);
    const answer = receipts === null ? null : await findReceipt(repository, receipts, id);
    const file = fileNamed(answer?.receipt.files ?? [], name, request);
    if (!answer || answer.receipt.outcome !== 'signed' || !file)
      throw invalid('not-signed', `request ${request}: nothing was signed for it`);
    const signatures: DetachedSignature[] = [];
    for (const program of file.signed) {
      const { path, inside, before, after } = program;
      const signature = await answer.signature(program);
      signatures.push({ path, inside, before: before.sha256, after: after.sha256, signature });
    }
    return { signatures, sha256: file.output?.sha256 };
  });
}

function rebuildDiffers(
  file: string,
  signatures: number,
  [actual, expected]: readonly [actual: string, expected: string],
): SignpipeError {
  const isUnchanged = signatures === 0;
  return invalid(
    'rebuild-differs',
    `${file}: ${isUnchanged ? 'its' : 'with its signatures, its'} SHA-256 is ${actual}, the receipt says ${expected}; nothing was written`,
    {
      hint: isUnchanged
        ? 'the file was delivered as it came: nothing in it was signed; compare the two builds'
        : 'the programs match, but something else in the zip differs, or another zlib packed it: compare with signpipe verify --original',
    },
  );
}

/** `signpipe signature attach`: rebuilds the signed file, bit for bit, without the key. */
export async function attachCommand(file: string, options: AttachCommandOptions): Promise<number> {
  const output = await outputTo(options.output, options.force);
  const { signatures, sha256 } = await signaturesFor(file, options);
  const common = { limits: DEFAULT_LIMITS, scratch: tmpdir() };
  const attach = async (path: string): Promise<string> => {
    const actual = await attachToFile(file, signatures, path, common);
    if (sha256 !== undefined && sha256 !== actual)
      throw rebuildDiffers(file, signatures.length, [actual, sha256]);
    return actual;
  };
  const actual = await writeOutputFile(output, attach, { checked: true });
  sayUnlessQuiet(options)(
    sha256 === undefined
      ? `${options.output}: signature attached`
      : `${options.output}: bit for bit the file that the receipt names`,
  );
  if (options.json) await printFileAsJson(file, options.output);
  else print(actual);
  return 0;
}

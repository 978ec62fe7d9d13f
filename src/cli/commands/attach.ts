import { tmpdir } from 'node:os';
import { basename } from 'node:path';
import { DEFAULT_LIMITS } from '../../lib/zip/limits.ts';
import { invalid, usage, type SignpipeError } from '../../lib/errors.ts';
import { readAll, withFile } from '../../lib/bytes/byte-source.ts';
import { attachToFile } from '../../engine/artifact/attach-file.ts';
import type { Wanted } from './receipt-signatures.ts';
import { outputTo, writeOutputFile } from '../output/output-file.ts';
import { printMade, type OutputOptions } from './signature.ts';
import { print, sayUnlessQuiet } from '../output/terminal.ts';

export interface AttachCommandOptions extends OutputOptions {
  readonly signature?: string;
  readonly receipt?: string;
  readonly repo?: string;
  readonly requests: string;
  readonly receipts: string;
}

/** No signature with its chain and timestamp comes near. */
const MAX_SIGNATURE = 4 * 1024 * 1024;

async function wantedBy(file: string, options: AttachCommandOptions): Promise<Wanted> {
  const { signature, receipt, repo } = options;
  if (signature !== undefined && receipt === undefined)
    return {
      wanted: [{ path: '', signature: await withFile(signature, (p7) => readAll(p7, MAX_SIGNATURE)) }],
      sha256: undefined,
    };
  if (signature === undefined && receipt !== undefined && repo !== undefined) {
    const { fromReceipt } = await import('./receipt-signatures.ts');
    return fromReceipt(receipt, repo, basename(file), options);
  }
  throw usage('signature-missing', 'which signature is to be attached?', {
    hint: 'give --signature P7, or --receipt REQUEST --repo URL',
  });
}

const zipDiffers = (file: string, actual: string, wanted: string): SignpipeError =>
  invalid(
    'rebuild-differs',
    `${file}: with its signatures its SHA-256 is ${actual}, the receipt says ${wanted}; nothing was written`,
    {
      hint: 'the programs match, but something else in the zip differs, or another zlib packed it: compare with signpipe verify --original',
    },
  );

/** `signpipe signature attach`: the signed file, bit for bit, without the key. */
export async function attachCommand(file: string, options: AttachCommandOptions): Promise<number> {
  const output = await outputTo(options.output, options.force);
  const { wanted, sha256 } = await wantedBy(file, options);
  const common = { limits: DEFAULT_LIMITS, scratch: tmpdir() };
  const attach = async (path: string): Promise<string> => {
    const actual = await attachToFile(file, wanted, path, common);
    if (sha256 !== undefined && sha256 !== actual) throw zipDiffers(file, actual, sha256);
    return actual;
  };
  const actual = await writeOutputFile(output, attach, { checked: true });
  sayUnlessQuiet(options)(
    sha256 === undefined
      ? `${options.output}: signature attached`
      : `${options.output}: bit for bit the file that the receipt names`,
  );
  if (options.json) await printMade(file, options.output);
  else print(actual);
  return 0;
}

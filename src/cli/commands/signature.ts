import { stat } from 'node:fs/promises';
import { openSignableFile } from '../../engine/formats/recognize.ts';
import { invalid } from '../../lib/errors.ts';
import { writeFileAtomically, writeStreamAtomically } from '../../lib/bytes/atomic-file.ts';
import { sha256OfFile } from '../../lib/bytes/hash.ts';
import { chunks, withFile } from '../../lib/bytes/byte-source.ts';
import { outputTo, writeOutputFile } from '../output/output-file.ts';
import { printJson, sayUnlessQuiet, type CommonOptions } from '../output/terminal.ts';

export interface OutputOptions extends CommonOptions {
  readonly output: string;
  readonly force?: boolean;
  readonly json?: boolean;
}

/** What was made of which file, as JSON. */
export async function printMade(input: string, path: string): Promise<void> {
  const { size } = await stat(path);
  printJson({ input, path, size, sha256: await sha256OfFile(path) });
}

/** `signpipe signature extract`: the detached PKCS#7 signature, DER. */
export async function extractCommand(file: string, options: OutputOptions): Promise<number> {
  const output = await outputTo(options.output, options.force);
  const [signature] = await withFile(file, async (source) => (await openSignableFile(source)).signatures);
  if (!signature) throw invalid('not-signed', `${file}: it bears no signature`);
  await writeOutputFile(output, (path) => writeFileAtomically(path, signature));
  sayUnlessQuiet(options)(`${options.output}: ${signature.length} bytes of PKCS#7, DER`);
  if (options.json) await printMade(file, options.output);
  return 0;
}

/** `signpipe signature remove`: the program without its signature. */
export async function removeCommand(file: string, options: OutputOptions): Promise<number> {
  const output = await outputTo(options.output, options.force);
  await withFile(file, async (source) => {
    const image = await openSignableFile(source);
    if (image.signatures.length === 0) throw invalid('not-signed', `${file}: it bears no signature`);
    const unsigned = chunks(await image.remove());
    await writeOutputFile(output, (path) => writeStreamAtomically(path, unsigned));
  });
  sayUnlessQuiet(options)(`${options.output}: ${file} without its signature`);
  if (options.json) await printMade(file, options.output);
  return 0;
}

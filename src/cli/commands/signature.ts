import { openSignableFile } from '../../engine/formats/recognize.ts';
import { invalid, type SignpipeError } from '../../lib/errors.ts';
import { writeFileAtomically, writeStreamAtomically } from '../../lib/bytes/atomic-file.ts';
import { withFile } from '../../lib/bytes/byte-source.ts';
import { readChunks } from '../../lib/bytes/read-chunks.ts';
import { outputTo, printFileAsJson, writeOutputFile, type OutputOptions } from '../output/output-file.ts';
import { sayUnlessQuiet } from '../output/terminal.ts';

const notSigned = (file: string): SignpipeError => invalid('not-signed', `${file}: it is not signed`);

/** `signpipe signature extract`: writes the detached signature: PKCS#7 in DER, unless the format needs more. */
export async function extractCommand(file: string, options: OutputOptions): Promise<number> {
  const output = await outputTo(options.output, options.force);
  const signature = await withFile(file, async (source) => {
    const signed = await openSignableFile(source);
    const [first] = signed.signatures;
    if (!first) throw notSigned(file);
    return (await signed.detached?.(first)) ?? first;
  });
  await writeOutputFile(output, (path) => writeFileAtomically(path, signature));
  sayUnlessQuiet(options)(`${options.output}: ${signature.length} bytes`);
  if (options.json) await printFileAsJson(file, options.output);
  return 0;
}

/** `signpipe signature remove`: writes the program without its signature. */
export async function removeCommand(file: string, options: OutputOptions): Promise<number> {
  const output = await outputTo(options.output, options.force);
  await withFile(file, async (source) => {
    const program = await openSignableFile(source);
    if (program.signatures.length === 0) throw notSigned(file);
    const unsigned = readChunks(await program.remove());
    await writeOutputFile(output, (path) => writeStreamAtomically(path, unsigned));
  });
  sayUnlessQuiet(options)(`${options.output}: ${file} without its signature`);
  if (options.json) await printFileAsJson(file, options.output);
  return 0;
}

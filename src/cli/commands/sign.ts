import { plural } from '../../lib/plural.ts';
import { extensionOf } from '../../engine/formats/file-extension.ts';
import { formatByName } from '../../engine/formats/recognize.ts';
import { DEFAULT_FILES } from '../../engine/formats/program-names.ts';
import { stat } from 'node:fs/promises';
import { basename, dirname, extname, join } from 'node:path';
import { printable } from '../../lib/printable.ts';
import { usage } from '../../lib/errors.ts';
import { compilePatterns } from '../../engine/artifact/globs.ts';
import type {
  AlreadySigned,
  InsidePolicy,
  SignArtifactOptions,
  SignedFile,
} from '../../engine/artifact/signed-artifact.ts';
import { shownPlace } from '../../engine/artifact/inside/place.ts';
import { withProgressBar } from '../../lib/progress.ts';
import { signFile } from '../../engine/artifact/sign-file.ts';
import { describeKept, describeLeftAlone, UNSIGNED_INSIDE } from '../output/kept-program-text.ts';
import { withFlagNames } from '../output/flag-names.ts';
import { progressFor } from '../output/progress-bars.ts';
import {
  outputInPlace,
  outputTo,
  requireDistinct,
  writeOutputFile,
  type OutputFile,
} from '../output/output-file.ts';
import { asPrintableJson, print } from '../output/terminal.ts';
import { withSigning, type SigningFlags, type SigningOptions } from './signing-flags.ts';

interface SignCommandOptions extends SigningFlags {
  readonly output?: string;
  readonly inPlace?: boolean;
  readonly force?: boolean;
  readonly alreadySigned: AlreadySigned;
  readonly inside: InsidePolicy;
  readonly pageHashes?: boolean;
  readonly files?: string[];
  readonly json?: boolean;
}

async function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (stats) => stats.isDirectory(),
    () => false,
  );
}

const beside = (file: string): string =>
  join(dirname(file), `${basename(file, extname(file))}.signed${extname(file)}`);

/** The paths of the signed files; by default beside the inputs, as `build.signed.zip`. */
async function outputPaths(files: readonly string[], output: string | undefined): Promise<string[]> {
  if (output === undefined) return files.map(beside);
  if (await isFolder(output)) return files.map((file) => join(output, basename(file)));
  if (files.length > 1)
    throw usage(
      'one-output-for-several',
      `${output}: several files are to be signed, but this is not a folder`,
      { hint: 'give a folder that exists, or --in-place' },
    );
  return [output];
}

/** The name of a script says how it is signed: under another one its signature would not be found. */
function requireSameExtension(input: string, output: string): void {
  if (!formatByName(input) || extensionOf(input) === extensionOf(output)) return;
  throw usage('output-extension', `${output}: ${input} is a script, which is signed by its name`, {
    hint: `give it a name that ends in .${extensionOf(input) ?? ''}`,
  });
}

/** Checks all outputs before the first file is signed. */
async function outputsFor(files: readonly string[], options: SignCommandOptions): Promise<OutputFile[]> {
  const { output, inPlace, force } = options;
  if (output !== undefined && inPlace)
    throw usage('output-twice', 'give either --output or --in-place, not both');
  const outputs: OutputFile[] = [];
  const paths = inPlace ? files : await outputPaths(files, output);
  for (const [index, name] of paths.entries()) {
    requireSameExtension(files[index] ?? '', name);
    outputs.push(await (inPlace ? outputInPlace(name) : outputTo(name, force)));
  }
  requireDistinct(outputs);
  return outputs;
}

function describeSigned(file: SignedFile, input: string, output: string): string {
  const own = file.signed.filter((each) =>
    file.kind === 'program' ? each.path === '' : !each.inside,
  ).length;
  const inside = file.signed.length - own;
  const within = inside > 0 ? `, and ${inside} inside` : '';
  const lines = [
    `${printable(output)}: ${file.kind === 'zip' ? `signed ${own} of ${plural(file.entries, 'file')}` : 'signed'}${within} (${printable(input)})`,
  ];
  for (const { path, inside: containers, timestamp } of file.signed)
    lines.push(
      `  ${printable(path === '' ? basename(output) : shownPlace({ path, inside: containers }))}${timestamp ? `  timestamped ${timestamp.time.toISOString()} by ${printable(timestamp.authority)}` : '  not timestamped'}`,
    );
  for (const kept of file.kept) lines.push(`  ${printable(shownPlace(kept))}  ${describeKept(kept)}`);
  for (const left of file.leftAlone)
    lines.push(`  ${printable(shownPlace(left))}  ${describeLeftAlone(left)}`);
  for (const place of file.unsignedInside)
    lines.push(`  ${printable(shownPlace(place))}  ${UNSIGNED_INSIDE}`);
  return lines.join('\n');
}

const asJson = (file: SignedFile, input: string, output: string): string =>
  asPrintableJson({
    input,
    path: output,
    ...file,
    signed: file.signed.map(
      ({
        signature: _signature,
        detachedName: _detachedName,
        certificate: _certificate,
        format: _format,
        ...entry
      }) => entry,
    ),
  });

/** Which programs to sign. A program named on the command line is signed whatever its name, unless --files is given. */
function filesToSign({ files }: SignCommandOptions): Pick<SignArtifactOptions, 'isOurs' | 'isOursAlone'> {
  const isOurs = compilePatterns(files ?? DEFAULT_FILES);
  return { isOurs, isOursAlone: files === undefined ? () => true : (path) => isOurs(basename(path)) };
}

/** Opens the key, signs each file into its output, and closes the key. */
async function signAll(files: string[], options: SignCommandOptions): Promise<number> {
  const outputs = await outputsFor(files, options);
  await withSigning(options, (signing) => signWith(signing, files, outputs, options));
  return 0;
}

async function signWith(
  signing: SigningOptions,
  files: string[],
  outputs: readonly OutputFile[],
  options: SignCommandOptions,
): Promise<void> {
  const { pageHashes, alreadySigned, inside } = options;
  const common = { ...signing, pageHashes, alreadySigned, inside, ...filesToSign(options) };
  const progress = await progressFor(options);
  for (const [index, output] of outputs.entries()) {
    const input = files[index] ?? '';
    await withProgressBar(progress, `sign ${basename(input)}`, 'files', async (onProgress) => {
      const signing = { ...common, onProgress };
      const text = await writeOutputFile(output, async (path) =>
        options.json
          ? asJson(await signFile(input, path, signing), input, output.name)
          : describeSigned(await signFile(input, path, { ...signing, hashed: false }), input, output.name),
      );
      if (options.json || !options.quiet) print(text);
    });
  }
}

/** `signpipe sign`: signs local files as the signer does. */
export async function signCommand(files: string[], options: SignCommandOptions): Promise<number> {
  try {
    return await signAll(files, options);
  } catch (error) {
    throw withFlagNames(error);
  }
}

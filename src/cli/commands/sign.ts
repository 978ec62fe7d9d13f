import { plural } from '../../lib/plural.ts';
import { DEFAULT_LIMITS } from '../../lib/zip/limits.ts';
import { DEFAULT_FILES } from '../../engine/formats/program-names.ts';
import { stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, extname, join } from 'node:path';
import { printable } from '../../lib/printable.ts';
import { usage, SignpipeError } from '../../lib/errors.ts';
import { describeKey, openSigningKey } from '../../engine/keys/open.ts';
import { askPassphrase } from '../../engine/keys/passphrase.ts';
import type { SigningKey } from '../../engine/keys/signing-key.ts';
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
import { openTimestamper } from '../../engine/timestamp/open.ts';
import { describeKept, describeLeftAlone, UNSIGNED_INSIDE } from '../output/kept-program-text.ts';
import { progressFor } from '../output/progress-bars.ts';
import {
  outputInPlace,
  outputTo,
  requireDistinct,
  writeOutputFile,
  type OutputFile,
} from '../output/output-file.ts';
import { asPrintableJson, print, sayUnlessQuiet, type CommonOptions } from '../output/terminal.ts';

interface SignCommandOptions extends CommonOptions {
  readonly output?: string;
  readonly inPlace?: boolean;
  readonly force?: boolean;
  readonly pfx?: string;
  readonly keyName?: string;
  readonly certificate?: string;
  readonly key?: string;
  readonly passphraseFile?: string;
  readonly concurrency?: number;
  readonly timestamp: string[];
  readonly timestampCa?: string[];
  readonly digest: 'sha256' | 'sha384' | 'sha512';
  readonly alreadySigned: AlreadySigned;
  readonly inside: InsidePolicy;
  readonly name?: string;
  readonly url?: string;
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

/** Checks all outputs before the first file is signed. */
async function outputsFor(files: readonly string[], options: SignCommandOptions): Promise<OutputFile[]> {
  const { output, inPlace, force } = options;
  if (output !== undefined && inPlace)
    throw usage('output-twice', 'give either --output or --in-place, not both');
  const outputs: OutputFile[] = [];
  for (const name of inPlace ? files : await outputPaths(files, output))
    outputs.push(await (inPlace ? outputInPlace(name) : outputTo(name, force)));
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
  const key = await openSigningKey(describeKey(options), {
    warn: sayUnlessQuiet(options),
    ask: askPassphrase,
    usableAt: new Date(),
    digest: options.digest,
  });
  try {
    await signWith(key, files, outputs, options);
    return 0;
  } finally {
    await key.close();
  }
}

/** The options of the engine. Warns of what makes signatures less useful. */
async function signingOptions(key: SigningKey, options: SignCommandOptions): Promise<SignArtifactOptions> {
  const say = sayUnlessQuiet(options);
  if (key.missingIssuer !== undefined)
    say(
      `the certificate of its issuer, ${key.missingIssuer}, is missing: unless that is a root, add it to the file with the certificate (--pfx or --certificate), or many machines will not trust the signatures`,
    );
  const timestamps = await openTimestamper(options.timestamp, options.timestampCa, key.certificates);
  if (!timestamps.timestamper)
    say('no --timestamp: the signatures are valid only as long as the certificate is');
  return {
    key,
    hash: options.digest,
    ...timestamps,
    name: options.name,
    url: options.url,
    pageHashes: options.pageHashes,
    alreadySigned: options.alreadySigned,
    inside: options.inside,
    ...filesToSign(options),
    limits: DEFAULT_LIMITS,
    scratch: tmpdir(),
  };
}

async function signWith(
  key: SigningKey,
  files: string[],
  outputs: readonly OutputFile[],
  options: SignCommandOptions,
): Promise<void> {
  const common = await signingOptions(key, options);
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

/** The flags of `sign` for the settings of signer.yaml. */
const FLAGS: ReadonlyMap<string, string> = new Map(
  Object.entries({
    pfx: '--pfx FILE',
    certificate: '--certificate FILE',
    key: '--key FILE',
    digest: '--digest',
    concurrency: '--concurrency',
    keyName: '--key-name',
    passphraseFile: '--passphrase-file',
    files: '--files',
    alreadySigned: '--already-signed',
    inside: '--inside',
    pageHashes: '--page-hashes',
    timestampRoots: '--timestamp-ca',
  }),
);

/** Error texts name a setting as `signing.KEY`, with "on the signer" if their reader may be on another machine. */
const SETTING = /\bsigning\.(\w+)( on the signer)?/g;

const withFlags = (text: string): string =>
  text.replace(SETTING, (setting, key: string) => FLAGS.get(key) ?? setting);

/** Names the flags of `sign` in an error instead of settings, for readers without a signer.yaml. */
const withFlagNames = (error: unknown): unknown =>
  error instanceof SignpipeError ? error.reworded(withFlags) : error;

/** `signpipe sign`: signs local files as the signer does. */
export async function signCommand(files: string[], options: SignCommandOptions): Promise<number> {
  try {
    return await signAll(files, options);
  } catch (error) {
    throw withFlagNames(error);
  }
}

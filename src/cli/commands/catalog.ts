import { writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { parseMoment } from '../parse-moment.ts';
import { makeCatalog, type NewCatalog } from '../../engine/catalog/make-catalog.ts';
import { signFile } from '../../engine/artifact/sign-file.ts';
import type { SignedFile } from '../../engine/artifact/signed-artifact.ts';
import { extensionOf } from '../../engine/formats/file-extension.ts';
import type { TextAttribute } from '../../engine/formats/catalog/build-list.ts';
import { writeAtomically } from '../../lib/bytes/atomic-file.ts';
import { writeFully } from '../../lib/bytes/read-write-fully.ts';
import { withTempFolder } from '../../lib/bytes/temp-folder.ts';
import { usage } from '../../lib/errors.ts';
import { plural } from '../../lib/plural.ts';
import { printable } from '../../lib/printable.ts';
import { withProgressBar } from '../../lib/progress.ts';
import { outputTo, writeOutputFile, type OutputOptions } from '../output/output-file.ts';
import { progressFor } from '../output/progress-bars.ts';
import { asPrintableJson, print } from '../output/terminal.ts';
import { withFlagNames } from '../output/flag-names.ts';
import { withSigning, type SigningFlags } from './signing-flags.ts';

interface CatalogCommandOptions extends SigningFlags, OutputOptions {
  readonly unsigned?: boolean;
  readonly time?: string;
  readonly attribute?: string[];
  readonly fileAttribute?: string[];
  readonly sha1?: boolean;
}

function attributeOf(text: string): TextAttribute {
  const at = text.indexOf('=');
  if (at > 0) return { name: text.slice(0, at), value: text.slice(at + 1) };
  throw usage('catalog-attribute', `${JSON.stringify(text)}: not an attribute of a catalog`, {
    hint: 'write NAME=TEXT',
  });
}

async function make(files: readonly string[], options: CatalogCommandOptions): Promise<NewCatalog> {
  const { output, time, attribute = [], fileAttribute = [], sha1 } = options;
  const progress = await progressFor(options);
  return withProgressBar(progress, `list ${basename(output)}`, 'files', (onProgress) =>
    makeCatalog(files, {
      output,
      time: time === undefined ? new Date() : parseMoment(time, '--time', new Date()),
      attributes: attribute.map(attributeOf),
      fileAttributes: fileAttribute.map(attributeOf),
      sha1,
      onProgress,
    }),
  );
}

/** Signs the catalog into `path`, in which it appears whole and verified. */
const signInto = (path: string, { der }: NewCatalog, options: CatalogCommandOptions): Promise<SignedFile> =>
  withSigning(options, (signing) =>
    withTempFolder(async (folder) => {
      const unsigned = join(folder, 'unsigned.cat');
      await writeFile(unsigned, der);
      const all = { isOurs: () => true, alreadySigned: 'reject', inside: 'ignore' } as const;
      return signFile(unsigned, path, { ...signing, ...all }, options.output);
    }),
  );

const writeUnsigned = (path: string, { der }: NewCatalog): Promise<void> =>
  writeAtomically(path, (handle) => writeFully(handle, der, 0));

function describe(
  { paths }: NewCatalog,
  signed: SignedFile | null,
  { output, json }: CatalogCommandOptions,
): string {
  const [program] = signed?.signed ?? [];
  const timestamp = program?.timestamp ?? null;
  if (json) return asPrintableJson({ path: output, files: paths, signed: signed !== null, timestamp });
  const how = !signed
    ? 'not signed'
    : timestamp
      ? `signed, timestamped ${timestamp.time.toISOString()}`
      : 'signed, not timestamped';
  return `${printable(output)}: lists ${plural(paths.length, 'file')}; ${how}`;
}

/** Windows knows catalogs by this extension: drivers name theirs so, and Explorer shows the signature. */
function requireCatalogName(output: string): void {
  if (extensionOf(output) === 'cat') return;
  throw usage('output-extension', `${printable(output)}: not the name of a catalog`, {
    hint: 'give it a name that ends in .cat',
  });
}

/** `signpipe catalog`: makes a catalog of files and folders, and signs it. */
export async function catalogCommand(files: string[], options: CatalogCommandOptions): Promise<number> {
  requireCatalogName(options.output);
  const output = await outputTo(options.output, options.force);
  const catalog = await make(files, options);
  try {
    const signed = await writeOutputFile(output, async (path) =>
      options.unsigned ? (await writeUnsigned(path, catalog), null) : signInto(path, catalog, options),
    );
    if (options.json || !options.quiet) print(describe(catalog, signed, options));
    return 0;
  } catch (error) {
    throw withFlagNames(error);
  }
}

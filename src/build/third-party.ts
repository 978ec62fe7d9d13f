import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';

/** A package whose code is in the compiled program. */
export interface BundledPackage {
  readonly name: string;
  readonly version: string;
  readonly licence: string;
  /** The text of its licence file; null if it has none. */
  readonly text: string | null;
}

const manifest = z.object({ name: z.string(), version: z.string(), license: z.string() });

const LICENCE_FILE = /^(?:licen[cs]e|copying)(?:[.-].*)?$/i;

/** The folder of the package that a bundled module is in: `node_modules/NAME`, in any nesting. */
const PACKAGE_FOLDER = /^.*node_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/;

async function readPackage(folder: string): Promise<BundledPackage> {
  const json: unknown = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'));
  const { name, version, license } = manifest.parse(json);
  const file = (await readdir(folder)).toSorted().find((each) => LICENCE_FILE.test(each));
  const text = file === undefined ? null : await readFile(join(folder, file), 'utf8');
  return { name, version, licence: license, text };
}

const byName = (a: BundledPackage, b: BundledPackage): number =>
  `${a.name}@${a.version}` < `${b.name}@${b.version}` ? -1 : 1;

/** The packages that modules of a bundle are from; `modules` are paths relative to `base`, as esbuild names them. */
export async function bundledPackages(base: string, modules: readonly string[]): Promise<BundledPackage[]> {
  const folders = new Set(
    modules.flatMap((module) => PACKAGE_FOLDER.exec(module)?.[0] ?? []).map((folder) => join(base, folder)),
  );
  return (await Promise.all([...folders].map(readPackage))).toSorted(byName);
}

const RULE = '-'.repeat(80);

function notice({ name, version, licence, text }: BundledPackage): string {
  const body = text ?? `The package has no licence file; its package.json says: ${licence}\n`;
  return `${RULE}\n${name} ${version} (${licence})\n${RULE}\n\n${body.replaceAll('\r\n', '\n').trim()}\n`;
}

/** The notices that the licences of bundled packages require wherever their code is copied. */
export const thirdPartyNotices = (packages: readonly BundledPackage[]): string =>
  [
    `The compiled program contains code of these ${packages.length} packages, under their own licences:\n`,
    `${packages.map(({ name, version, licence }) => `  ${name} ${version} (${licence})`).join('\n')}\n`,
    ...packages.map(notice),
  ].join('\n');
